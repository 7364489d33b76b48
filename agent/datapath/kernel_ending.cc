#include "agent/datapath/kernel_ending.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "agent/datapath/end_pass.h"
#include "agent/datapath/object.h"
#include "agent/datapath/split_plan.h"
#include "agent/datapath/wire.h"
#include "ending.skel.h"
#include "weir/end.h"

namespace weir::datapath {
namespace {

std::string PinPath(const std::string& directory) {
  return fmt::format("{}/ends_v{}", directory, WEIR_END_VERSION);
}

weir_end_key ToWire(const EndTarget& target) {
  return {.vip = ToWire(target.frontend),
          .pad = 0,
          .variant_id = target.revision.empty() ? 0 : Fnv1a(target.revision)};
}

Result<UniqueFd> Iterator(const bpf_program* program, bpf_iter_link_info* target) {
  bpf_link_create_opts options{};
  options.sz = sizeof options;
  options.iter_info = target;
  options.iter_info_len = target != nullptr ? sizeof *target : 0;
  UniqueFd link(bpf_link_create(bpf_program__fd(program), 0, BPF_TRACE_ITER, &options));
  if (!link.valid()) return ErrnoStatus(errno, "iterate over sockets");
  return link;
}

}  // namespace

void KernelEnding::Destroy::operator()(weir_ending* skeleton) const { weir_ending__destroy(skeleton); }

Result<std::unique_ptr<KernelEnding>> KernelEnding::Open(const Maps& maps, Options options) {
  std::unique_ptr<KernelEnding> ending(new KernelEnding);
  RETURN_IF_ERROR(Annotate(ending->Load(maps, options), "end connections (Linux 6.5 or later is needed)"));
  ending->thread_ =
      std::thread([raw = ending.get(), start = std::move(options.on_thread_start)] { raw->Run(start); });
  return ending;
}

Status KernelEnding::Load(const Maps& maps, const Options& options) {
  skeleton_.reset(weir_ending__open());
  if (!skeleton_) return ErrnoStatus(errno, "open the BPF object");
  const std::string pin = PinPath(options.bpffs_dir);
  const UniqueFd pinned(bpf_obj_get(pin.c_str()));
  if (!pinned.valid() && errno != ENOENT) return ErrnoStatus(errno, "open " + pin);
  if (pinned.valid()) {
    if (const int error = bpf_map__reuse_fd(skeleton_->maps.weir_ends, pinned.get()); error != 0)
      return ErrnoStatus(-error, "reuse " + pin);
  }
  RETURN_IF_ERROR(LoadOnMaps(skeleton_->obj, maps));
  ends_ = bpf_map__fd(skeleton_->maps.weir_ends);
  if (!pinned.valid() && bpf_obj_pin(ends_, pin.c_str()) != 0) return ErrnoStatus(errno, "pin " + pin);

  bpf_iter_link_info socks{};
  socks.map.map_fd = static_cast<uint32_t>(maps.fd("weir_socks"));
  ASSIGN_OR_RETURN(find_, Iterator(skeleton_->progs.weir_end_find, &socks));
  ASSIGN_OR_RETURN(tcp_, Iterator(skeleton_->progs.weir_end_tcp, nullptr));
  ASSIGN_OR_RETURN(udp_, Iterator(skeleton_->progs.weir_end_udp, nullptr));
  own_namespace_ = UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!own_namespace_.valid()) return ErrnoStatus(errno, "open /proc/thread-self/ns/net");
  ASSIGN_OR_RETURN(own_number_, NamespaceNumber(own_namespace_.get()));
  return OkStatus();
}

KernelEnding::~KernelEnding() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wanted_.notify_one();
  thread_.join();
}

Status KernelEnding::ForEach(
    const std::function<Status(const weir_end_key&, const struct weir_end&)>& visit) const {
  std::vector<weir_end_key> keys;
  weir_end_key key{};
  for (const void* before = nullptr; bpf_map_get_next_key(ends_, before, &key) == 0; before = &keys.back())
    keys.push_back(key);
  if (errno != ENOENT) return ErrnoStatus(errno, "read weir_ends");
  for (const weir_end_key& found : keys) {
    struct weir_end end {};
    if (bpf_map_lookup_elem(ends_, &found, &end) == 0) RETURN_IF_ERROR(visit(found, end));
  }
  return OkStatus();
}

Status KernelEnding::Order(const std::string& name, const std::vector<EndTarget>& targets) {
  const uint64_t order = Fnv1a(name);
  std::map<weir_end_key, bool, decltype([](const weir_end_key& a, const weir_end_key& b) {
             return std::memcmp(&a, &b, sizeof a) < 0;
           })>
      wanted;
  for (const EndTarget& target : targets) wanted[ToWire(target)] = true;
  {
    const std::lock_guard lock(mutex_);
    names_[order] = name;
  }
  for (const auto& [key, unused] : wanted) {
    struct weir_end end {};
    if (bpf_map_lookup_elem(ends_, &key, &end) == 0 && end.order == order) continue;
    end = {.order = order, .tcp = 0, .udp = 0};
    if (bpf_map_update_elem(ends_, &key, &end, BPF_ANY) != 0) return ErrnoStatus(errno, "write weir_ends");
  }
  return OkStatus();
}

Status KernelEnding::EraseIf(const std::function<bool(uint64_t order)>& matches) {
  return ForEach([&](const weir_end_key& key, const struct weir_end& end) {
    if (!matches(end.order)) return OkStatus();
    if (bpf_map_delete_elem(ends_, &key) != 0 && errno != ENOENT)
      return ErrnoStatus(errno, "write weir_ends");
    return OkStatus();
  });
}

Status KernelEnding::Void(const std::string& name) {
  const uint64_t order = Fnv1a(name);
  {
    const std::lock_guard lock(mutex_);
    names_.erase(order);
  }
  return EraseIf([order](uint64_t found) { return found == order; });
}

Status KernelEnding::VoidAllBut(const std::set<std::string>& names) {
  std::set<uint64_t> kept;
  for (const std::string& name : names) kept.insert(Fnv1a(name));
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(names_, [&](const auto& entry) { return !kept.contains(entry.first); });
  }
  return EraseIf([&](uint64_t found) { return !kept.contains(found); });
}

Result<EndCounts> KernelEnding::Count(const std::string& name) const {
  const uint64_t order = Fnv1a(name);
  EndCounts counts;
  RETURN_IF_ERROR(ForEach([&](const weir_end_key&, const struct weir_end& end) {
    if (end.order == order) {
      counts.tcp += end.tcp;
      counts.udp += end.udp;
    }
    return OkStatus();
  }));
  return counts;
}

void KernelEnding::Sweep(std::function<void(Swept)> done) {
  {
    const std::lock_guard lock(mutex_);
    sweeps_.push_back(std::move(done));
  }
  wanted_.notify_one();
}

void KernelEnding::Run(const std::function<void()>& on_start) {
  if (on_start) on_start();
  std::unique_lock lock(mutex_);
  for (;;) {
    wanted_.wait(lock, [this] { return stopping_ || !sweeps_.empty(); });
    if (stopping_) return;
    const std::function<void(Swept)> done = std::move(sweeps_.front());
    sweeps_.pop_front();
    lock.unlock();
    Swept swept = Pass();
    done(std::move(swept));
    lock.lock();
  }
}

Swept KernelEnding::Pass() {
  std::map<uint64_t, std::string> names;
  {
    const std::lock_guard lock(mutex_);
    names = names_;
  }
  const EndPass::Outcome outcome =
      EndPass(
          {.find = find_.get(), .tcp = tcp_.get(), .udp = udp_.get(), .own_namespace = own_namespace_.get()},
          own_number_)
          .Run();
  Swept swept;
  swept.failures = outcome.failures;
  for (const auto& [number, name] : names) {
    const auto found = outcome.orders.find(number);
    swept.orders[name] = found == outcome.orders.end() ? SweptOrder{} : found->second;
  }
  return swept;
}

Result<std::vector<std::string>> KernelEnding::Detach(const std::string& bpffs_dir) {
  const std::string pin = PinPath(bpffs_dir);
  if (unlink(pin.c_str()) == 0) return std::vector<std::string>{pin};
  if (errno != ENOENT) return ErrnoStatus(errno, "unlink " + pin);
  return std::vector<std::string>{};
}

}  // namespace weir::datapath
