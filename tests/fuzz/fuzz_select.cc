// Any split, any phase: after every connection every variant is within one of its share, and running numbers
// have no gaps.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "tests/unit/bpf/split_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  uint32_t phase = 0;
  if (size < sizeof phase + 3) return 0;
  std::memcpy(&phase, data, sizeof phase);
  std::vector<uint32_t> weights;
  for (size_t at = sizeof phase; at + 3 <= size && weights.size() < WEIR_MAX_VARIANTS; at += 3) {
    const uint32_t raw = data[at] | data[at + 1] << 8 | data[at + 2] << 16;
    weights.push_back(1 + raw % WEIR_MAX_WEIGHT);
  }
  weir::testing::SplitModel model(weights, phase);
  std::vector<uint64_t> numbers(weights.size());
  for (int n = 0; n < 2000; ++n) {
    const uint32_t variant = model.Next();
    if (model.number() != numbers.at(variant)++ || !model.IsExact()) std::abort();
  }
  return 0;
}
