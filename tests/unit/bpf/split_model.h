// One node's choice over one split, as the BPF program makes it: for tests and the fuzzer.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "bpf/lib/select.h"

namespace weir::testing {

class SplitModel {
 public:
  /// Weights above 0, at most 16 of them. phase is a fraction of 2^32.
  SplitModel(const std::vector<uint32_t>& weights, uint32_t phase) : counts_(weights.size()) {
    split_.variant_count = static_cast<uint8_t>(weights.size());
    for (size_t i = 0; i < weights.size(); ++i) {
      variants_[i].weight = weights[i];
      if (i < WEIR_PAIR) split_.variants[i].weight = weights[i];
      split_.total_weight += weights[i];
    }
    split_.offset = static_cast<uint32_t>((uint64_t{phase} * split_.total_weight) >> 32);
    uint64_t end = 0;
    for (size_t i = 0; i < weights.size(); ++i) {
      end += weights[i];
      if (split_.offset < end) {
        split_.first_pick = static_cast<uint8_t>(i);
        break;
      }
    }
  }

  /// Gives one connection; the variant.
  uint32_t Next() {
    weir_choice choice{};
    if (split_.variant_count <= 2) {
      weir_choose_pair(&split_, cursor_.next++, &choice);
    } else {
      weir_choose_many(&split_, variants_, &cursor_, &choice);
    }
    number_ = choice.number;
    ++given_;
    ++counts_.at(choice.variant);
    return choice.variant;
  }

  /// The running number that the last connection had within its variant.
  uint64_t number() const { return number_; }
  uint64_t count(size_t variant) const { return counts_[variant]; }

  /// Whether |count_v - n * w_v / W| < 1 for every v, in exact arithmetic.
  bool IsExact() const {
    for (size_t i = 0; i < counts_.size(); ++i) {
      const __int128 deviation = static_cast<__int128>(counts_[i]) * split_.total_weight -
                                 static_cast<__int128>(given_) * variants_[i].weight;
      if (deviation >= split_.total_weight || -deviation >= split_.total_weight) return false;
    }
    return true;
  }

 private:
  weir_split split_{};
  weir_variant variants_[WEIR_MAX_VARIANTS]{};
  weir_cursor cursor_{};
  std::vector<uint64_t> counts_;
  uint64_t given_ = 0;
  uint64_t number_ = 0;
};

}  // namespace weir::testing
