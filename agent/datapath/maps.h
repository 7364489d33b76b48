// The pinned maps as user space sees them: the mmapable arrays as memory, the others by system call. Owns its
// fds. Not thread-safe, except that BPF programs read the arrays meanwhile.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "agent/datapath/datapath.h"
#include "agent/datapath/vip_table.h"
#include "common/fd.h"
#include "weir/maps.h"

namespace weir::datapath {

/// A shared mapping of an array map. The kernel rounds each element up to 8 bytes (kernel/bpf/arraymap.c).
template <typename T>
class SharedArray {
 public:
  SharedArray() = default;
  SharedArray(SharedArray&& other) noexcept
      : memory_(std::exchange(other.memory_, nullptr)), bytes_(other.bytes_), size_(other.size_) {}
  SharedArray& operator=(SharedArray&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(bytes_, other.bytes_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~SharedArray() { Unmap(); }

  Status Map(int fd, uint32_t size);
  T& operator[](uint32_t index) const { return *reinterpret_cast<T*>(memory_ + size_t{index} * kStride); }
  uint32_t size() const { return size_; }
  T* data() const { return reinterpret_cast<T*>(memory_); }

 private:
  static constexpr size_t kStride = (sizeof(T) + 7) / 8 * 8;
  void Unmap();

  std::byte* memory_ = nullptr;
  size_t bytes_ = 0;
  uint32_t size_ = 0;
};

/// How many entries the maps hold; names their pin directory.
struct MapSizes {
  uint32_t services =
      0;  // frontends at most; the maps hold twice as many, so that a whole change fits beside the old
  uint32_t endpoints = 0;  // likewise
  uint32_t affinity = 0;

  /// A power of two: a change of everything, beside what it replaces, takes at most 0.4 of it.
  uint32_t vip_entries() const { return std::max(64U, std::bit_ceil(5 * services)); }
  uint32_t split_entries() const { return 2 * services + 1; }  // 0 means none
  /// Splits of more than two variants, and their cursors: a quarter as many as there are splits.
  uint32_t wide_entries() const { return services / 2 + 2; }    // 0 is nobody's
  uint32_t cursor_entries() const { return services / 2 + 2; }  // likewise
  uint32_t endpoint_entries() const { return 2 * endpoints; }
  /// Every service under a few revisions. Empty entries cost 16 bytes; as the maps go on through a change of
  /// sizes, they are not made small for small ones.
  uint32_t series_entries() const { return std::max(4 * services, 65536U); }
  /// Status codes of a series that were seen.
  uint32_t http_entries() const { return std::max(2 * services, 16384U); }
  /// "v3-s12288-e131072-a16384"
  std::string DirectoryName() const;
  static std::optional<MapSizes> FromDirectoryName(std::string_view name);
  bool operator==(const MapSizes&) const = default;
};

/// Names of all maps, as in the object and in the pin directory.
const std::vector<std::string>& MapNames();
/// Whether earlier agents of this schema left none: it is made when it is missing.
bool CameLater(const std::string& name);

class Maps {
 public:
  /// Opens what is pinned under `directory`. Fails if a map is missing or not of this schema's layout.
  static Result<Maps> Open(const std::string& directory, const MapSizes& sizes);

  const MapSizes& sizes() const { return sizes_; }
  int fd(const std::string& name) const;

  VipTable vips;
  SharedArray<weir_split> splits;
  SharedArray<weir_wide> wide;
  SharedArray<weir_endpoint> endpoints;
  SharedArray<weir_grace_cpu> grace;
  SharedArray<weir_state> state;      // one element
  SharedArray<weir_contact> contact;  // one element

  /// The variants of a split, weir_split.variant_count of them.
  std::span<const weir_variant> VariantsOf(const weir_split& split) const;
  Status WriteCursor(uint32_t index, const weir_cursor& cursor) const;
  Result<weir_cursor> ReadCursor(uint32_t index) const;

  /// How many series there may be: of the map as it is, which goes on through a change of sizes.
  uint32_t series_capacity() const { return series_capacity_; }
  Result<std::vector<std::pair<uint32_t, weir_series>>> ListSeries() const;
  Status InsertSeries(uint32_t series, const weir_series& name) const;
  Status DeleteSeries(uint32_t series) const;
  /// Each element, while the kernel may add to it.
  Status ForEachStats(const std::function<void(uint32_t series, const weir_stats&)>& visit) const;
  Status ForEachHttp(const std::function<void(const weir_http_key&, const weir_histogram&)>& visit) const;
  Status ForEachFailing(const std::function<void(const weir_failing_key&, const weir_failing&)>& visit) const;
  /// An element that says nothing, made if need be.
  Status ResetFailing(const weir_failing_key& key) const;
  /// OK too if there is none.
  Status DeleteFailing(const weir_failing_key& key) const;
  /// Consumers' numbers by cgroup ID.
  Result<std::map<uint64_t, uint32_t>> ListPods() const;
  /// RESOURCE_EXHAUSTED where the map is full.
  Status PutPod(uint64_t cgroup, uint32_t consumers) const;
  Status DeletePod(uint64_t cgroup) const;
  /// OK too if there is none.
  Status DeleteStats(uint32_t series) const;
  Status DeleteHttp(const weir_http_key& key) const;

  /// Sums over CPUs, indexed by enum weir_counter.
  Result<std::vector<uint64_t>> ReadCounters() const;
  /// Connections and flows given to a variant, by all CPUs.
  uint64_t CountChosen() const;
  Result<uint64_t> CountAffinity() const;
  /// Copies session affinity from another set of maps, as far as it fits.
  Status CopyAffinity(const Maps& from) const;

 private:
  MapSizes sizes_;
  SharedArray<weir_vip> vip_memory_;
  uint32_t series_capacity_ = 0;
  std::vector<std::pair<std::string, UniqueFd>> fds_;
};

}  // namespace weir::datapath
