#include "agent/datapath/maps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <cstdio>

namespace weir::datapath {
namespace {

/// What a map of this schema must look like. entries 0: any.
struct MapShape {
  uint32_t type, key_size, value_size, entries;
};

MapShape Shape(const std::string& name, const MapSizes& sizes) {
  if (name == "weir_vips") return {BPF_MAP_TYPE_ARRAY, 4, sizeof(weir_vip), sizes.vip_entries()};
  if (name == "weir_wide") return {BPF_MAP_TYPE_ARRAY, 4, sizeof(weir_wide), sizes.wide_entries()};
  if (name == "weir_splits") return {BPF_MAP_TYPE_ARRAY, 4, sizeof(weir_split), sizes.split_entries()};
  if (name == "weir_endpoints")
    return {BPF_MAP_TYPE_ARRAY, 4, sizeof(weir_endpoint), sizes.endpoint_entries()};
  if (name == "weir_cursors") return {BPF_MAP_TYPE_ARRAY, 4, sizeof(weir_cursor), sizes.cursor_entries()};
  if (name == "weir_grace") return {BPF_MAP_TYPE_ARRAY, 4, sizeof(weir_grace_cpu), WEIR_GRACE_CPUS};
  if (name == "weir_state") return {BPF_MAP_TYPE_ARRAY, 4, sizeof(weir_state), 1};
  if (name == "weir_contact") return {BPF_MAP_TYPE_ARRAY, 4, sizeof(weir_contact), 1};
  if (name == "weir_failing")
    return {BPF_MAP_TYPE_HASH, sizeof(weir_failing_key), sizeof(weir_failing), WEIR_MAX_FAILING};
  if (name == "weir_pods") return {BPF_MAP_TYPE_HASH, 8, sizeof(weir_pod), WEIR_MAX_PODS};
  if (name == "weir_socks") return {BPF_MAP_TYPE_SK_STORAGE, 4, sizeof(weir_sock), 0};
  if (name == "weir_udp_flows") return {BPF_MAP_TYPE_SK_STORAGE, 4, sizeof(weir_udp_flows), 0};
  if (name == "weir_http_socks") return {BPF_MAP_TYPE_SK_STORAGE, 4, sizeof(weir_http_sock), 0};
  if (name == "weir_affinity") {
    return {BPF_MAP_TYPE_LRU_HASH, sizeof(weir_affinity_key), sizeof(weir_affinity), sizes.affinity};
  }
  if (name == "weir_series") return {BPF_MAP_TYPE_HASH, 4, sizeof(weir_series), 0};
  if (name == "weir_stats") return {BPF_MAP_TYPE_HASH, 4, sizeof(weir_stats), 0};
  if (name == "weir_http") return {BPF_MAP_TYPE_HASH, sizeof(weir_http_key), sizeof(weir_histogram), 0};
  return {BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, WEIR_COUNTER_MAX};
}

/// A hash map answers EBUSY where a program on this CPU holds the bucket (htab_lock_bucket): it is free at
/// once.
template <typename Call>
int RetryBusy(Call call) {
  int error = call();
  for (int round = 0; error == -EBUSY && round < 1000; ++round) error = call();
  return error;
}

/// Calls visit(key) for each key of a hash map; keys that come or go meanwhile may be missed.
template <typename Key, typename Visit>
Status ForEachKey(int fd, Visit visit) {
  Key key{};
  Key next{};
  int error = bpf_map_get_next_key(fd, nullptr, &next);
  while (error == 0) {
    key = next;
    RETURN_IF_ERROR(visit(key));
    error = bpf_map_get_next_key(fd, &key, &next);
  }
  return error == -ENOENT ? OkStatus() : ErrnoStatus(-error, "bpf_map_get_next_key");
}

/// Calls visit(key, value) for each element of a hash map, read many at a time: a bucket is copied under its
/// lock.
template <typename Key, typename Value, typename Visit>
Status ForEachElement(int fd, const std::string& name, Visit visit) {
  std::vector<Key> keys(256);
  std::vector<Value> values(keys.size());
  uint32_t position = 0;
  for (bool first = true;; first = false) {
    auto count = static_cast<uint32_t>(keys.size());
    const int error = bpf_map_lookup_batch(fd, first ? nullptr : &position, &position, keys.data(),
                                           values.data(), &count, nullptr);
    if (error == -ENOSPC && keys.size() < 65536) {  // a bucket that does not fit
      keys.resize(2 * keys.size());
      values.resize(keys.size());
      continue;
    }
    if (error != 0 && error != -ENOENT) return ErrnoStatus(-error, "read " + name);
    for (uint32_t i = 0; i < count; ++i) visit(keys[i], values[i]);
    if (error == -ENOENT) return OkStatus();  // the end
  }
}

Status DeleteElement(int fd, const std::string& name, const void* key) {
  const int error = RetryBusy([&] { return bpf_map_delete_elem(fd, key); });
  return error == 0 || error == -ENOENT ? OkStatus() : ErrnoStatus(-error, "delete from " + name);
}

}  // namespace

template <typename T>
Status SharedArray<T>::Map(int fd, uint32_t size) {
  Unmap();
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t bytes = (kStride * size + page - 1) / page * page;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return ErrnoStatus(errno, "mmap of a BPF array");
  memory_ = static_cast<std::byte*>(memory);
  bytes_ = bytes;
  size_ = size;
  return OkStatus();
}

template <typename T>
void SharedArray<T>::Unmap() {
  if (memory_ != nullptr) munmap(memory_, bytes_);
  memory_ = nullptr;
}

template class SharedArray<weir_vip>;
template class SharedArray<weir_wide>;
template class SharedArray<weir_split>;
template class SharedArray<weir_endpoint>;
template class SharedArray<weir_grace_cpu>;
template class SharedArray<weir_state>;
template class SharedArray<weir_contact>;

std::string MapSizes::DirectoryName() const {
  return fmt::format("v{}-s{}-e{}-a{}", WEIR_SCHEMA_VERSION, services, endpoints, affinity);
}

std::optional<MapSizes> MapSizes::FromDirectoryName(std::string_view name) {
  MapSizes sizes;
  unsigned schema = 0;
  const std::string text(name);
  if (std::sscanf(text.c_str(), "v%u-s%u-e%u-a%u", &schema, &sizes.services, &sizes.endpoints,
                  &sizes.affinity) != 4 ||
      schema != WEIR_SCHEMA_VERSION || sizes.DirectoryName() != text) {
    return std::nullopt;
  }
  return sizes;
}

const std::vector<std::string>& MapNames() {
  static const std::vector<std::string> names = {
      "weir_vips",   "weir_wide",  "weir_splits",    "weir_endpoints",  "weir_cursors",  "weir_grace",
      "weir_state",  "weir_socks", "weir_udp_flows", "weir_http_socks", "weir_affinity", "weir_counters",
      "weir_series", "weir_stats", "weir_http",      "weir_contact",    "weir_failing",  "weir_pods"};
  return names;
}

bool CameLater(const std::string& name) {
  return name == "weir_contact" || name == "weir_failing" || name == "weir_pods";
}

Result<Maps> Maps::Open(const std::string& directory, const MapSizes& sizes) {
  Maps maps;
  maps.sizes_ = sizes;
  for (const std::string& name : MapNames()) {
    const std::string path = fmt::format("{}/{}", directory, name);
    UniqueFd fd(bpf_obj_get(path.c_str()));
    if (!fd.valid()) return ErrnoStatus(errno, fmt::format("open pinned map {}", path));
    bpf_map_info info{};
    uint32_t length = sizeof info;
    if (bpf_obj_get_info_by_fd(fd.get(), &info, &length) != 0) return ErrnoStatus(errno, "info of " + path);
    const MapShape want = Shape(name, sizes);
    if (info.type != want.type || info.key_size != want.key_size || info.value_size != want.value_size ||
        (want.entries != 0 && info.max_entries != want.entries)) {
      return FailedPrecondition(
          "{}: found type {} key {} value {} entries {}, expected {} {} {} {}; run weir-agent --detach and "
          "start again",
          path, info.type, info.key_size, info.value_size, info.max_entries, want.type, want.key_size,
          want.value_size, want.entries);
    }
    if (name == "weir_series") maps.series_capacity_ = info.max_entries;
    maps.fds_.emplace_back(name, std::move(fd));
  }
  RETURN_IF_ERROR(maps.vip_memory_.Map(maps.fd("weir_vips"), sizes.vip_entries()));
  maps.vips = VipTable(maps.vip_memory_.data(), sizes.vip_entries());
  RETURN_IF_ERROR(maps.wide.Map(maps.fd("weir_wide"), sizes.wide_entries()));
  RETURN_IF_ERROR(maps.splits.Map(maps.fd("weir_splits"), sizes.split_entries()));
  RETURN_IF_ERROR(maps.endpoints.Map(maps.fd("weir_endpoints"), sizes.endpoint_entries()));
  RETURN_IF_ERROR(maps.grace.Map(maps.fd("weir_grace"), WEIR_GRACE_CPUS));
  RETURN_IF_ERROR(maps.state.Map(maps.fd("weir_state"), 1));
  RETURN_IF_ERROR(maps.contact.Map(maps.fd("weir_contact"), 1));
  return maps;
}

int Maps::fd(const std::string& name) const {
  for (const auto& [known, fd] : fds_) {
    if (known == name) return fd.get();
  }
  return -1;
}

std::span<const weir_variant> Maps::VariantsOf(const weir_split& split) const {
  const weir_variant* first = split.variant_count <= WEIR_PAIR ? split.variants : wide[split.wide].variants;
  return {first, split.variant_count};
}

Status Maps::WriteCursor(uint32_t index, const weir_cursor& cursor) const {
  const int error = bpf_map_update_elem(fd("weir_cursors"), &index, &cursor, BPF_F_LOCK);
  return error == 0 ? OkStatus() : ErrnoStatus(-error, fmt::format("write cursor {}", index));
}

Result<weir_cursor> Maps::ReadCursor(uint32_t index) const {
  weir_cursor cursor{};
  const int error = bpf_map_lookup_elem_flags(fd("weir_cursors"), &index, &cursor, BPF_F_LOCK);
  if (error != 0) return ErrnoStatus(-error, fmt::format("read cursor {}", index));
  return cursor;
}

Result<std::vector<std::pair<uint32_t, weir_series>>> Maps::ListSeries() const {
  std::vector<std::pair<uint32_t, weir_series>> list;
  RETURN_IF_ERROR((ForEachElement<uint32_t, weir_series>(
      fd("weir_series"), "weir_series",
      [&](uint32_t series, const weir_series& name) { list.emplace_back(series, name); })));
  return list;
}

Status Maps::InsertSeries(uint32_t series, const weir_series& name) const {
  const int map = fd("weir_series");
  const int error = RetryBusy([&] { return bpf_map_update_elem(map, &series, &name, BPF_ANY); });
  return error == 0 ? OkStatus() : ErrnoStatus(-error, "insert into weir_series");
}

Status Maps::DeleteSeries(uint32_t series) const {
  return DeleteElement(fd("weir_series"), "weir_series", &series);
}

Status Maps::ForEachStats(const std::function<void(uint32_t, const weir_stats&)>& visit) const {
  return ForEachElement<uint32_t, weir_stats>(fd("weir_stats"), "weir_stats", visit);
}

Status Maps::ForEachHttp(
    const std::function<void(const weir_http_key&, const weir_histogram&)>& visit) const {
  return ForEachElement<weir_http_key, weir_histogram>(fd("weir_http"), "weir_http", visit);
}

Status Maps::ForEachFailing(
    const std::function<void(const weir_failing_key&, const weir_failing&)>& visit) const {
  return ForEachElement<weir_failing_key, weir_failing>(fd("weir_failing"), "weir_failing", visit);
}

Status Maps::ResetFailing(const weir_failing_key& key) const {
  const weir_failing none{};
  const int map = fd("weir_failing");
  const int error = RetryBusy([&] { return bpf_map_update_elem(map, &key, &none, BPF_ANY); });
  return error == 0 ? OkStatus() : ErrnoStatus(-error, "write to weir_failing");
}

Status Maps::DeleteFailing(const weir_failing_key& key) const {
  return DeleteElement(fd("weir_failing"), "weir_failing", &key);
}

Result<std::map<uint64_t, uint32_t>> Maps::ListPods() const {
  std::map<uint64_t, uint32_t> list;
  RETURN_IF_ERROR((ForEachElement<uint64_t, weir_pod>(
      fd("weir_pods"), "weir_pods",
      [&](uint64_t cgroup, const weir_pod& pod) { list.emplace(cgroup, pod.consumers); })));
  return list;
}

Status Maps::PutPod(uint64_t cgroup, uint32_t consumers) const {
  const weir_pod pod{.consumers = consumers, .pad = 0};
  const int map = fd("weir_pods");
  const int error = RetryBusy([&] { return bpf_map_update_elem(map, &cgroup, &pod, BPF_ANY); });
  if (error == -E2BIG) {
    return Error(absl::StatusCode::kResourceExhausted, "map weir_pods is full: it holds {} pods",
                 WEIR_MAX_PODS);
  }
  return error == 0 ? OkStatus() : ErrnoStatus(-error, "insert into weir_pods");
}

Status Maps::DeletePod(uint64_t cgroup) const { return DeleteElement(fd("weir_pods"), "weir_pods", &cgroup); }

Status Maps::DeleteStats(uint32_t series) const {
  return DeleteElement(fd("weir_stats"), "weir_stats", &series);
}

Status Maps::DeleteHttp(const weir_http_key& key) const {
  return DeleteElement(fd("weir_http"), "weir_http", &key);
}

Result<std::vector<uint64_t>> Maps::ReadCounters() const {
  const int cpus = libbpf_num_possible_cpus();
  if (cpus < 0) return ErrnoStatus(-cpus, "number of possible CPUs");
  std::vector<uint64_t> per_cpu(static_cast<size_t>(cpus));
  std::vector<uint64_t> sums(WEIR_COUNTER_MAX);
  for (uint32_t counter = 0; counter < WEIR_COUNTER_MAX; ++counter) {
    const int error = bpf_map_lookup_elem(fd("weir_counters"), &counter, per_cpu.data());
    if (error != 0) return ErrnoStatus(-error, "read weir_counters");
    for (const uint64_t value : per_cpu) sums[counter] += value;
  }
  return sums;
}

uint64_t Maps::CountChosen() const {
  uint64_t sum = 0;
  for (uint32_t cpu = 0; cpu < grace.size(); ++cpu) {
    for (__u64& count : grace[cpu].chosen) sum += std::atomic_ref(count).load(std::memory_order_relaxed);
  }
  return sum;
}

Result<uint64_t> Maps::CountAffinity() const {
  uint64_t count = 0;
  RETURN_IF_ERROR(ForEachKey<weir_affinity_key>(fd("weir_affinity"), [&](const weir_affinity_key&) {
    ++count;
    return OkStatus();
  }));
  return count;
}

Status Maps::CopyAffinity(const Maps& from) const {
  const int source = from.fd("weir_affinity");
  return ForEachKey<weir_affinity_key>(source, [&](const weir_affinity_key& key) -> Status {
    weir_affinity value{};
    const int found = bpf_map_lookup_elem(source, &key, &value);
    if (found == -ENOENT) return OkStatus();  // it was evicted meanwhile
    if (found != 0) return ErrnoStatus(-found, "read weir_affinity");
    const int error = bpf_map_update_elem(fd("weir_affinity"), &key, &value, BPF_ANY);
    return error == 0 ? OkStatus() : ErrnoStatus(-error, "copy weir_affinity");
  });
}

}  // namespace weir::datapath
