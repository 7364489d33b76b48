// A variant's role in one word, the same in tables and in metrics' labels. Needs weir_proto.
#pragma once

#include "weir/v1/types.pb.h"

namespace weir {

/// "stable", "canary", "backend", "active", "preview", "previous"; empty for a role that is not said or not
/// known.
inline const char* RoleWord(v1::Role role) {
  switch (role) {
    case v1::ROLE_STABLE:
      return "stable";
    case v1::ROLE_CANARY:
      return "canary";
    case v1::ROLE_BACKEND:
      return "backend";
    case v1::ROLE_ACTIVE:
      return "active";
    case v1::ROLE_PREVIEW:
      return "preview";
    case v1::ROLE_PREVIOUS:
      return "previous";
    default:
      return "";
  }
}

}  // namespace weir
