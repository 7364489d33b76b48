#include "agent/datapath/maps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdio>

namespace weir::datapath {
namespace {

/// What a map of this schema must look like. entries 0: any.
struct MapShape {
  uint32_t type, key_size, value_size, entries;
};

MapShape Shape(const std::string& name, const MapSizes& sizes) {
  if (name == "weir_vips") return {BPF_MAP_TYPE_HASH, sizeof(weir_vip_key), 4, sizes.service_entries()};
  if (name == "weir_services") return {BPF_MAP_TYPE_ARRAY, 4, sizeof(weir_service), sizes.service_entries()};
  if (name == "weir_splits") return {BPF_MAP_TYPE_ARRAY, 4, sizeof(weir_split), sizes.split_entries()};
  if (name == "weir_endpoints")
    return {BPF_MAP_TYPE_ARRAY, 4, sizeof(weir_endpoint), sizes.endpoint_entries()};
  if (name == "weir_cursors") return {BPF_MAP_TYPE_ARRAY, 4, sizeof(weir_cursor), sizes.cursor_entries()};
  if (name == "weir_grace") return {BPF_MAP_TYPE_ARRAY, 4, sizeof(weir_grace_cpu), WEIR_GRACE_CPUS};
  if (name == "weir_state") return {BPF_MAP_TYPE_ARRAY, 4, sizeof(weir_state), 1};
  if (name == "weir_socks") return {BPF_MAP_TYPE_SK_STORAGE, 4, sizeof(weir_sock), 0};
  if (name == "weir_udp_flows") return {BPF_MAP_TYPE_SK_STORAGE, 4, sizeof(weir_udp_flows), 0};
  if (name == "weir_affinity") {
    return {BPF_MAP_TYPE_LRU_HASH, sizeof(weir_affinity_key), sizeof(weir_affinity), sizes.affinity};
  }
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

template class SharedArray<weir_service>;
template class SharedArray<weir_split>;
template class SharedArray<weir_endpoint>;
template class SharedArray<weir_grace_cpu>;
template class SharedArray<weir_state>;

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
      "weir_vips",  "weir_services", "weir_splits",    "weir_endpoints", "weir_cursors", "weir_grace",
      "weir_state", "weir_socks",    "weir_udp_flows", "weir_affinity",  "weir_counters"};
  return names;
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
    maps.fds_.emplace_back(name, std::move(fd));
  }
  RETURN_IF_ERROR(maps.services.Map(maps.fd("weir_services"), sizes.service_entries()));
  RETURN_IF_ERROR(maps.splits.Map(maps.fd("weir_splits"), sizes.split_entries()));
  RETURN_IF_ERROR(maps.endpoints.Map(maps.fd("weir_endpoints"), sizes.endpoint_entries()));
  RETURN_IF_ERROR(maps.grace.Map(maps.fd("weir_grace"), WEIR_GRACE_CPUS));
  RETURN_IF_ERROR(maps.state.Map(maps.fd("weir_state"), 1));
  return maps;
}

int Maps::fd(const std::string& name) const {
  for (const auto& [known, fd] : fds_) {
    if (known == name) return fd.get();
  }
  return -1;
}

Status Maps::InsertVip(const weir_vip_key& key, uint32_t service) const {
  const int map = fd("weir_vips");
  const int error = RetryBusy([&] { return bpf_map_update_elem(map, &key, &service, BPF_ANY); });
  if (error == -E2BIG) {
    return Error(absl::StatusCode::kResourceExhausted,
                 "map weir_vips is full ({} entries): raise --max-services", sizes_.service_entries());
  }
  return error == 0 ? OkStatus() : ErrnoStatus(-error, "insert into weir_vips");
}

Status Maps::DeleteVip(const weir_vip_key& key) const {
  const int map = fd("weir_vips");
  const int error = RetryBusy([&] { return bpf_map_delete_elem(map, &key); });
  return error == 0 || error == -ENOENT ? OkStatus() : ErrnoStatus(-error, "delete from weir_vips");
}

Result<std::vector<std::pair<weir_vip_key, uint32_t>>> Maps::ListVips() const {
  std::vector<std::pair<weir_vip_key, uint32_t>> vips;
  const int map = fd("weir_vips");
  RETURN_IF_ERROR(ForEachKey<weir_vip_key>(map, [&](const weir_vip_key& key) -> Status {
    uint32_t service = 0;
    const int error = bpf_map_lookup_elem(map, &key, &service);
    if (error != 0) return ErrnoStatus(-error, "read weir_vips");
    vips.emplace_back(key, service);
    return OkStatus();
  }));
  return vips;
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
