#include "tests/kernel/harness/programs.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <thread>

namespace weir::kernel_test {
namespace {

[[noreturn]] void Die(const std::string& what) {
  std::cerr << "kernel test programs: " << what << ": " << std::strerror(errno) << "\n";
  std::abort();
}

std::vector<uint32_t> Query(const std::string& cgroup, bpf_attach_type hook, uint32_t flags) {
  const int fd = open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) Die("open " + cgroup);
  std::vector<uint32_t> ids(64);
  uint32_t count = ids.size();
  if (bpf_prog_query(fd, hook, flags, nullptr, ids.data(), &count) != 0) Die("query programs of " + cgroup);
  close(fd);
  ids.resize(count);
  return ids;
}

struct PinInfo {
  bool is_link = false;
  uint32_t program = 0, map = 0, link = 0;
};

PinInfo Describe(int fd) {
  PinInfo out;
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(fd));
  for (std::string name; info >> name;) {
    if (name == "prog_id:") info >> out.program;
    if (name == "map_id:") info >> out.map;
    if (name == "link_id:") info >> out.link;
  }
  out.is_link = out.link != 0;
  return out;
}

template <typename Function>
void ForEachPin(const std::string& directory, const Function& function) {
  std::error_code error;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory, error)) {
    if (entry.is_directory()) continue;
    const int fd = bpf_obj_get(entry.path().c_str());
    if (fd < 0) continue;
    function(entry.path().string(), fd);
    close(fd);
  }
}

std::set<uint32_t> Remaining(const std::set<uint32_t>& ids, int (*open_by_id)(uint32_t)) {
  std::set<uint32_t> out;
  for (const uint32_t id : ids) {
    const int fd = open_by_id(id);
    if (fd < 0) continue;
    close(fd);
    out.insert(id);
  }
  return out;
}

bpf_insn Instruction(uint8_t code, uint8_t destination, uint8_t source, int16_t offset, int32_t immediate) {
  bpf_insn out{};
  out.code = code;
  out.dst_reg = destination;
  out.src_reg = source;
  out.off = offset;
  out.imm = immediate;
  return out;
}

constexpr int16_t kUserIp4 = offsetof(bpf_sock_addr, user_ip4);
constexpr int16_t kUserPort = offsetof(bpf_sock_addr, user_port);

}  // namespace

const std::vector<bpf_attach_type> kHooks = {
    BPF_CGROUP_INET4_CONNECT,     BPF_CGROUP_INET6_CONNECT,     BPF_CGROUP_UDP4_SENDMSG,
    BPF_CGROUP_UDP6_SENDMSG,      BPF_CGROUP_UDP4_RECVMSG,      BPF_CGROUP_UDP6_RECVMSG,
    BPF_CGROUP_INET4_GETPEERNAME, BPF_CGROUP_INET6_GETPEERNAME, BPF_CGROUP_INET_SOCK_RELEASE};

size_t LinkCount() { return kHooks.size() + 1; }

std::vector<uint32_t> AttachedPrograms(const std::string& cgroup, bpf_attach_type hook) {
  return Query(cgroup, hook, 0);
}

std::vector<uint32_t> EffectivePrograms(const std::string& cgroup, bpf_attach_type hook) {
  return Query(cgroup, hook, BPF_F_QUERY_EFFECTIVE);
}

std::vector<std::vector<uint32_t>> AllAttachedPrograms(const std::string& cgroup) {
  std::vector<std::vector<uint32_t>> out;
  out.reserve(std::size(kHooks));
  for (const auto hook : kHooks) out.push_back(AttachedPrograms(cgroup, hook));
  return out;
}

PinnedObjects FindPinned(const std::string& directory) {
  PinnedObjects out;
  ForEachPin(directory, [&](const std::string&, int fd) {
    const PinInfo info = Describe(fd);
    if (info.program != 0) out.programs.insert(info.program);
    if (info.map != 0) out.maps.insert(info.map);
    if (info.link != 0) out.links.insert(info.link);
  });
  return out;
}

std::vector<std::string> FindPinnedLinks(const std::string& directory) {
  std::set<std::string> out;
  ForEachPin(directory, [&](const std::string& path, int fd) {
    if (Describe(fd).is_link) out.insert(path);
  });
  return {out.begin(), out.end()};
}

void DetachPinnedLink(const std::string& path) {
  const int fd = bpf_obj_get(path.c_str());
  if (fd < 0 || bpf_link_detach(fd) != 0) Die("detach " + path);
  close(fd);
}

std::string FindPinnedMap(const std::string& directory, const std::string& name) {
  std::string out;
  ForEachPin(directory, [&](const std::string& path, int fd) {
    bpf_map_info info{};
    uint32_t size = sizeof(info);
    if (Describe(fd).map != 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && name == info.name)
      out = path;
  });
  return out;
}

PinnedObjects StillThere(const PinnedObjects& objects) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  for (;;) {
    PinnedObjects left{Remaining(objects.programs, bpf_prog_get_fd_by_id),
                       Remaining(objects.maps, bpf_map_get_fd_by_id),
                       Remaining(objects.links, bpf_link_get_fd_by_id)};
    const bool gone = left.programs.empty() && left.maps.empty() && left.links.empty();
    if (gone || std::chrono::steady_clock::now() > deadline) return left;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the kernel tells nobody when it frees them
  }
}

ForeignProgram::ForeignProgram(const std::string& cgroup, How how, std::optional<SocketAddress> rewrite_to) {
  map_ = bpf_map_create(BPF_MAP_TYPE_ARRAY, "ktest_foreign", sizeof(uint32_t), 16, 1, nullptr);
  if (map_ < 0) Die("create map");
  std::vector<bpf_insn> code = {
      Instruction(BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0),
      Instruction(BPF_LD | BPF_DW | BPF_IMM, 7, BPF_PSEUDO_MAP_VALUE, 0, map_),
      Instruction(0, 0, 0, 0, 0),
      Instruction(BPF_ALU64 | BPF_MOV | BPF_K, 1, 0, 0, 1),
      Instruction(BPF_STX | BPF_DW | BPF_ATOMIC, 7, 1, 0, BPF_ADD),
      Instruction(BPF_LDX | BPF_W | BPF_MEM, 2, 6, kUserIp4, 0),
      Instruction(BPF_STX | BPF_W | BPF_MEM, 7, 2, 8, 0),
  };
  if (rewrite_to) {
    uint32_t ip4_be;
    std::memcpy(&ip4_be, rewrite_to->address.mapped().data() + 12, 4);
    code.push_back(Instruction(BPF_ALU | BPF_MOV | BPF_K, 2, 0, 0, static_cast<int32_t>(ip4_be)));
    code.push_back(Instruction(BPF_STX | BPF_W | BPF_MEM, 6, 2, kUserIp4, 0));
    code.push_back(Instruction(BPF_ALU | BPF_MOV | BPF_K, 2, 0, 0, __builtin_bswap16(rewrite_to->port)));
    code.push_back(Instruction(BPF_STX | BPF_W | BPF_MEM, 6, 2, kUserPort, 0));
  }
  code.push_back(Instruction(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1));
  code.push_back(Instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
  LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = BPF_CGROUP_INET4_CONNECT);
  program_ = bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "ktest_foreign", "GPL", code.data(), code.size(),
                           &options);
  if (program_ < 0) Die("load program");
  bpf_prog_info info{};
  uint32_t size = sizeof(info);
  if (bpf_obj_get_info_by_fd(program_, &info, &size) != 0) Die("program info");
  id_ = info.id;
  cgroup_ = open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (cgroup_ < 0) Die("open " + cgroup);
  if (how == How::kLink) {
    link_ = bpf_link_create(program_, cgroup_, BPF_CGROUP_INET4_CONNECT, nullptr);
    if (link_ < 0) Die("link program");
  } else if (bpf_prog_attach(program_, cgroup_, BPF_CGROUP_INET4_CONNECT,
                             how == How::kAttachMulti ? BPF_F_ALLOW_MULTI : 0) != 0) {
    Die("attach program");
  }
}

ForeignProgram::~ForeignProgram() {
  if (link_ >= 0) {
    close(link_);
  } else {
    bpf_prog_detach2(program_, cgroup_, BPF_CGROUP_INET4_CONNECT);
  }
  close(program_);
  close(map_);
  close(cgroup_);
}

uint64_t ForeignProgram::Runs() const {
  uint64_t value[2] = {};
  const uint32_t key = 0;
  if (bpf_map_lookup_elem(map_, &key, value) != 0) Die("read map");
  return value[0];
}

IpAddress ForeignProgram::LastSeen() const {
  uint64_t value[2] = {};
  const uint32_t key = 0;
  if (bpf_map_lookup_elem(map_, &key, value) != 0) Die("read map");
  return *IpAddress::FromBytes({reinterpret_cast<const char*>(&value[1]), 4});
}

}  // namespace weir::kernel_test
