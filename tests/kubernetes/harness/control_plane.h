// A real control plane for one test program: etcd, kube-apiserver and, if asked for, kube-controller-manager,
// inside the sandbox's network namespace (tests/kernel/harness/sandbox.h), which ends them however the test
// ends. There is no kubelet and no scheduler: pods run nowhere.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "tests/integration/process.h"

namespace weir::kubernetes_test {

/// Why no control plane can run here, with the remedy; empty if it can.
std::string MissingReason();

struct ControlPlaneOptions {
  bool controller_manager = false;
  std::string controllers = "*";  // its --controllers
  /// Served straight from etcd, without the API server's watch cache: a compaction makes their old versions
  /// expire.
  std::vector<std::string> uncached = {"secrets"};
};

/// One thread uses it.
class ControlPlane {
 public:
  using Options = ControlPlaneOptions;
  struct Output {
    int code = 0;
    std::string text;  // stdout and stderr
  };

  /// Ready to serve (/readyz) within a minute, else an error with the end of the log that says why.
  static Result<std::unique_ptr<ControlPlane>> Start(const Options& options = {});
  ~ControlPlane();
  ControlPlane(const ControlPlane&) = delete;
  ControlPlane& operator=(const ControlPlane&) = delete;

  /// A folder of its own in memory, seen by this test and its children only.
  const std::string& folder() const { return folder_; }
  std::string server() const { return "https://127.0.0.1:" + std::to_string(kApiPort); }
  std::string ca_file() const { return folder_ + "/ca.crt"; }
  /// Of an admin (system:masters), by client certificate.
  std::string admin_kubeconfig() const { return folder_ + "/admin.kubeconfig"; }

  /// kubectl as admin, `input` on its stdin.
  Output Kubectl(std::vector<std::string> arguments, const std::string& input = "") const;
  /// The same as somebody else.
  Output KubectlAs(const std::string& kubeconfig, std::vector<std::string> arguments,
                   const std::string& input = "") const;
  /// Its output; the test has failed when it did.
  std::string MustKubectl(std::vector<std::string> arguments, const std::string& input = "") const;
  /// `kubectl apply -f -`.
  /// Until the API serves these, by name; a minute at most.
  void AwaitCrds(const std::vector<std::string>& names) const;
  void Apply(const std::string& manifests) const { MustKubectl({"apply", "-f", "-"}, manifests); }

  /// A kubeconfig with a token of that service account, which must exist; its path.
  Result<std::string> KubeconfigOf(const std::string& ns, const std::string& service_account) const;
  /// A folder with token, ca.crt and namespace, as kubelet mounts it into a pod; its path.
  Result<std::string> MountOf(const std::string& ns, const std::string& service_account) const;

  // kill -9, and a new process on the same data and port. Starting waits until it serves.
  void KillApiServer() { api_server_.reset(); }
  Status StartApiServer();
  void KillEtcd() { etcd_.reset(); }
  Status StartEtcd();
  void KillControllerManager() { controller_manager_.reset(); }
  Status StartControllerManager();
  /// SIGSTOP and SIGCONT: a server that does not answer and does not hang up.
  void FreezeApiServer(bool frozen) const;

  /// All older versions of everything are gone from etcd.
  Status CompactEtcd() const;

 private:
  static constexpr int kEtcdPort = 2379, kEtcdPeerPort = 2380, kApiPort = 6443;

  explicit ControlPlane(const Options& options) : options_(options) {}
  Status MakeFolder();
  Status MakeCertificates() const;
  void WriteKubeconfig(const std::string& name, const std::string& user) const;
  Result<std::string> TokenOf(const std::string& ns, const std::string& service_account) const;
  std::unique_ptr<Process> Launch(const std::string& program,
                                  const std::vector<std::string>& arguments) const;
  Status WaitUntilReady(const std::string& program, const std::vector<std::string>& probe) const;

  Options options_;
  std::string programs_, folder_;
  std::unique_ptr<Process> etcd_, api_server_, controller_manager_;
};

}  // namespace weir::kubernetes_test
