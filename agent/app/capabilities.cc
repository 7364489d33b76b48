#include "agent/app/capabilities.h"

#include <sys/capability.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <type_traits>

namespace weir::app {
namespace {

using Caps = std::unique_ptr<std::remove_pointer_t<cap_t>, int (*)(void*)>;

bool IsPermitted(const Caps& caps, cap_value_t capability) {
  cap_flag_value_t value = CAP_CLEAR;
  return cap_get_flag(caps.get(), capability, CAP_PERMITTED, &value) == 0 && value == CAP_SET;
}

std::string Name(cap_value_t capability) {
  const std::unique_ptr<char, int (*)(void*)> name(cap_to_name(capability), cap_free);
  return name ? name.get() : std::to_string(capability);
}

/// The bounding set can be narrowed with CAP_SETPCAP only; without it no_new_privs has to do.
Status NarrowBoundingSet(const std::vector<cap_value_t>& keep) {
  for (cap_value_t capability = 0; capability < cap_max_bits(); ++capability) {
    if (std::find(keep.begin(), keep.end(), capability) != keep.end()) continue;
    if (cap_get_bound(capability) == 1 && cap_drop_bound(capability) != 0) {
      return ErrnoStatus(errno, "drop " + Name(capability) + " from the bounding set");
    }
  }
  return OkStatus();
}

Result<std::vector<std::string>> KeepOnly(const Caps& held, const std::vector<cap_value_t>& keep) {
  if (IsPermitted(held, CAP_SETPCAP)) RETURN_IF_ERROR(NarrowBoundingSet(keep));
  if (cap_reset_ambient() != 0) return ErrnoStatus(errno, "clear the ambient capabilities");
  const Caps wanted(cap_init(), cap_free);
  const int count = static_cast<int>(keep.size());
  if (!wanted ||
      (count > 0 && (cap_set_flag(wanted.get(), CAP_PERMITTED, count, keep.data(), CAP_SET) != 0 ||
                     cap_set_flag(wanted.get(), CAP_EFFECTIVE, count, keep.data(), CAP_SET) != 0)) ||
      cap_set_proc(wanted.get()) != 0) {
    return ErrnoStatus(errno, "give up capabilities");
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return ErrnoStatus(errno, "set no_new_privs");
  std::vector<std::string> names;
  names.reserve(keep.size());
  for (const cap_value_t capability : keep) names.push_back(Name(capability));
  return names;
}

/// Those of `wanted` that are permitted.
std::vector<cap_value_t> Granted(const Caps& held, std::initializer_list<cap_value_t> wanted) {
  std::vector<cap_value_t> granted;
  for (const cap_value_t capability : wanted) {
    if (IsPermitted(held, capability)) granted.push_back(capability);
  }
  return granted;
}

Status CannotRead() { return ErrnoStatus(errno, "read this process's capabilities"); }

}  // namespace

Result<std::vector<std::string>> DropCapabilities() {
  const Caps held(cap_get_proc(), cap_free);
  if (!held) return CannotRead();
  std::vector<cap_value_t> keep = Granted(held, {CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON});
  const bool stands_in = !IsPermitted(held, CAP_BPF) || !IsPermitted(held, CAP_PERFMON);
  if (stands_in && IsPermitted(held, CAP_SYS_ADMIN)) keep.push_back(CAP_SYS_ADMIN);
  return KeepOnly(held, keep);
}

Result<std::vector<std::string>> DropCapabilitiesButForNamespaces() {
  const Caps held(cap_get_proc(), cap_free);
  if (!held) return CannotRead();
  return KeepOnly(held, Granted(held, {CAP_BPF, CAP_SYS_ADMIN, CAP_SYS_PTRACE}));
}

std::vector<std::string> MissingForNamespaces() {
  const Caps held(cap_get_proc(), cap_free);
  std::vector<std::string> missing;
  for (const cap_value_t capability : {CAP_SYS_ADMIN, CAP_SYS_PTRACE}) {
    if (!held || !IsPermitted(held, capability)) missing.push_back(Name(capability));
  }
  return missing;
}

}  // namespace weir::app
