// weir-controller in a cluster: a candidate for the Lease for as long as it runs, a Term whenever it has it.
#pragma once

#include <chrono>
#include <string>

#include "common/status.h"
#include "controller/app/app.h"

namespace weir::kubernetes {

struct ClusterOptions {
  std::string kubeconfig, context;  // both empty: the pod's service account
  std::string pod_name;             // this replica; empty: a name is made, and no pod is labelled
  std::string pod_namespace;        // of the Lease and the ConfigMaps; empty: the access's own
  std::chrono::milliseconds look_for_kinds{60'000};  // others' CRDs that are not installed, or not any more
  std::chrono::milliseconds lease_duration{10'000}, renew_deadline{6'000}, retry_period{2'000};
};

/// Runs until SIGTERM or SIGINT. Errors before that are wrong flags and access that cannot be had; afterwards
/// everything is tried again. Prints "candidate http=...", and "listening grpc=... http=..." whenever it
/// leads.
Status RunInCluster(const app::Options& options, const ClusterOptions& cluster);

}  // namespace weir::kubernetes
