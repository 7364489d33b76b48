#include "agent/datapath/object.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>

namespace weir::datapath {
namespace {

/// libbpf tells why a load failed only through its print function.
thread_local std::string libbpf_messages;

int CollectMessage(libbpf_print_level level, const char* format, va_list arguments) {
  if (level != LIBBPF_WARN) return 0;
  char line[512];
  const int length = vsnprintf(line, sizeof line, format, arguments);
  if (libbpf_messages.size() < 8192) libbpf_messages += line;
  return length;
}

}  // namespace

void CollectLibbpfMessages() {
  libbpf_set_print(CollectMessage);
  libbpf_messages.clear();
}

const std::string& LibbpfMessages() { return libbpf_messages; }

Status LoadOnMaps(bpf_object* object, const Maps& maps) {
  CollectLibbpfMessages();
  for (const std::string& name : MapNames()) {
    bpf_map* map = bpf_object__find_map_by_name(object, name.c_str());
    if (map == nullptr) continue;
    if (const int error = bpf_map__reuse_fd(map, maps.fd(name)); error != 0)
      return ErrnoStatus(-error, "reuse " + name);
  }
  const int failed = bpf_object__load(object);
  return failed == 0 ? OkStatus() : ErrnoStatus(-failed, libbpf_messages);
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
