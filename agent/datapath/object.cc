#include "agent/datapath/object.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdio>

#include "common/kernel_release.h"

namespace weir::datapath {
namespace {

constexpr char kVmlinuxBtf[] = "/sys/kernel/btf/vmlinux";
constexpr size_t kMaxMessage = 1024;
constexpr size_t kMaxMessages = 8192;

/// libbpf tells why a load failed only through its print function.
thread_local std::string libbpf_messages;

int CollectMessage(libbpf_print_level level, const char* format, va_list arguments) {
  if (level != LIBBPF_WARN) return 0;
  va_list again;
  va_copy(again, arguments);
  const int length = vsnprintf(nullptr, 0, format, arguments);
  std::string message(static_cast<size_t>(std::max(length, 0)) + 1, '\0');
  vsnprintf(message.data(), message.size(), format, again);
  va_end(again);
  message.pop_back();
  libbpf_messages += EndOf(message, kMaxMessage);
  libbpf_messages = EndOf(libbpf_messages, kMaxMessages);
  return length;
}

/// Whether the kernel takes any program of that kind at all.
bool Knows(bpf_prog_type type, bpf_attach_type attach_type) {
  // r0 = 1; exit
  const std::array<bpf_insn, 2> instructions = {
      bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 1},
      bpf_insn{.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  bpf_prog_load_opts options{};
  options.sz = sizeof options;
  options.expected_attach_type = attach_type;
  const UniqueFd fd(bpf_prog_load(type, nullptr, "GPL", instructions.data(), instructions.size(), &options));
  return fd.valid() || errno != EINVAL;
}

const Hook* HookOfSection(std::string_view section) {
  const std::string_view name = section.substr(section.rfind('/') + 1);
  for (const std::vector<Hook>* hooks : {&Hooks(), &PacketHooks(), &MeasureHooks()}) {
    for (const Hook& hook : *hooks) {
      if (name == hook.name) return &hook;
    }
  }
  return nullptr;  // no hook of a cgroup
}

}  // namespace

std::vector<std::string> MissingHooks(const bpf_object* object) {
  std::vector<std::string> missing;
  const bpf_program* program = nullptr;
  while ((program = bpf_object__next_program(object, const_cast<bpf_program*>(program))) != nullptr) {
    const Hook* hook = HookOfSection(bpf_program__section_name(program));
    if (hook == nullptr) continue;
    if (!Knows(bpf_program__type(program), static_cast<bpf_attach_type>(hook->attach_type)))
      missing.push_back(fmt::format("{} (Linux {} or later has it)", hook->name, hook->since));
  }
  return missing;
}

std::string EndOf(const std::string& text, size_t bytes) {
  if (text.size() <= bytes) return text;
  const size_t head = std::min(text.find('\n'), bytes / 4);
  // Whole lines, as far as there are any.
  size_t begin = text.size() - (bytes - head);
  if (const size_t line = text.find('\n', begin); line + 1 < text.size()) begin = line + 1;
  return text.substr(0, head) + "\n[...]\n" + text.substr(begin);
}

void CollectLibbpfMessages() {
  libbpf_set_print(CollectMessage);
  libbpf_messages.clear();
}

Status LoadOnMaps(bpf_object* object, const Maps& maps) {
  CollectLibbpfMessages();
  for (const std::string& name : MapNames()) {
    bpf_map* map = bpf_object__find_map_by_name(object, name.c_str());
    if (map == nullptr) continue;
    if (const int error = bpf_map__reuse_fd(map, maps.fd(name)); error != 0)
      return ErrnoStatus(-error, "reuse " + name);
  }
  const int failed = bpf_object__load(object);
  return failed == 0 ? OkStatus() : LoadError(-failed, object);
}

Status LoadError(int error, const bpf_object* object) {
  const std::vector<std::string> missing = MissingHooks(object);
  if (!missing.empty()) {
    return FailedPrecondition("this kernel, {}, lacks {}", KernelRelease(), fmt::join(missing, ", "));
  }
  if (access(kVmlinuxBtf, R_OK) != 0) {
    return FailedPrecondition(
        "this kernel, {}, does not describe its types: no {} (CONFIG_DEBUG_INFO_BTF)\n{}", KernelRelease(),
        kVmlinuxBtf, libbpf_messages);
  }
  return ErrnoStatus(error, libbpf_messages);
}

Result<int> ProgramFd(const bpf_object* object, const Hook& hook) {
  const std::string name = std::string("weir_") + hook.name;
  const bpf_program* program = bpf_object__find_program_by_name(object, name.c_str());
  if (program == nullptr) return NotFound("program {} is not in the BPF object", name);
  return bpf_program__fd(program);
}

Status CheckProgram(const bpf_object* object, const Hook& hook, int cgroup_fd) {
  ASSIGN_OR_RETURN(const int fd, ProgramFd(object, hook));
  bpf_prog_info info{};
  uint32_t length = sizeof info;
  if (bpf_obj_get_info_by_fd(fd, &info, &length) != 0) return ErrnoStatus(errno, "program info");
  return CheckHook(hook, info.id, cgroup_fd);
}

}  // namespace weir::datapath
