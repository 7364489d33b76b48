// What every revision does, as `weirctl top` shows it: the cluster's counts beside the weights in force.
#pragma once

#include "common/clock.h"
#include "common/status.h"
#include "controller/app/status.h"
#include "controller/telemetry/cluster.h"
#include "weir/v1/rollouts.pb.h"

namespace weir::app {

/// NOT_FOUND for a service that is named and is not; INVALID_ARGUMENT for a window the view does not reach
/// back. Leaves nodes_connected to the caller. The view is not constant as asking settles windows.
Result<v1::FiguresResponse> FiguresOf(const Facts& facts, telemetry::Cluster& cluster,
                                      const v1::FiguresRequest& request, MonotonicTime now);

/// The revisions of a service's variants with what is wanted of each and what the agents counted since the
/// present weights began, over all its frontends; in the order of the first frontend's variants.
struct VariantShare {
  std::string revision;
  v1::Role role = v1::ROLE_UNSPECIFIED;
  uint32_t weight = 0;
  uint64_t connections = 0;
};
std::vector<VariantShare> SharesOf(const Facts& facts, const ObjectKey& service);

}  // namespace weir::app
