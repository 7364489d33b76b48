// Gateway API routes as the cluster has them, and what their status is to say. Pure; one thread.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controller/kubernetes/leader/statuses.h"
#include "controller/model/claims.h"
#include "controller/model/objects.h"

namespace weir::kubernetes {

/// nullopt: no kind of route.
std::optional<model::RouteKind> RouteKindOf(std::string_view kind);

class Routes {
 public:
  /// As the API server sends it, with kind and apiVersion. Whose status may have to be written.
  StatusKey Put(model::RouteKind kind, boost::json::object object);
  /// Whose status is to be forgotten.
  std::optional<StatusKey> Remove(model::RouteKind kind, const ObjectKey& key);

  /// Everything that was put is in the frontends of `generation`, under these verdicts: what is new about a
  /// route is in force from there on.
  void TakenUp(const std::map<model::RouteId, model::RouteVerdict>& verdicts, uint64_t generation);

  /// What its status is to be, only if nobody has written since; nullopt: as it is, or not to be said yet.
  /// `all_acked`: whether every agent that counts holds a generation.
  std::optional<StatusToWrite> MakeStatus(const StatusKey& key,
                                          const std::function<bool(uint64_t)>& all_acked,
                                          model::Created now) const;

  std::vector<StatusKey> Keys() const;

 private:
  struct Entry {
    boost::json::object object;
    std::optional<model::Route> route;  // none: it cannot be read
    std::optional<model::RouteVerdict> verdict;
    bool pending = true;  // not taken up as it is
    uint64_t since = 0;   // the generation in which it was
  };

  std::map<model::RouteId, Entry> routes_;
};

}  // namespace weir::kubernetes
