// Plays scheduler and kubelet: every pod gets a node and an address of the pod network 10.244.0.0/16, a real
// server listens there that names the pod's revision, and then the pod is Ready. A pod that is deleted serves
// for as long as it is given, then it is gone. Pods without a revision (those of Weir itself, whose programs
// the test starts) are only looked at.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "tests/kernel/harness/servers.h"
#include "tests/kubernetes/harness/admin.h"
#include "tests/kubernetes/harness/control_plane.h"

namespace weir::kubernetes_test {

class PlayedKubelet {
 public:
  /// Both must outlive it. Pods of the namespace run and listen on `port`; those of others only end.
  PlayedKubelet(const ControlPlane& plane, kernel_test::Servers& servers, std::string ns, uint16_t port);
  ~PlayedKubelet();

  /// The id that servers of pods with this label value send: rollouts-pod-template-hash, else
  /// pod-template-hash; 255: no such pod was ever seen.
  uint8_t IdOf(const std::string& revision) const;
  /// While held, new pods run but are not Ready.
  void HoldReadiness(bool held) { held_ = held; }
  /// How long a pod serves after somebody asked for its end; at first until the next look.
  void SetGrace(std::chrono::milliseconds grace) { grace_ = grace; }
  /// How many there are.
  size_t Pods(const std::string& revision) const;
  /// How many were ever started.
  uint32_t Started() const;
  /// Names of the pods that are labelled weir.dev/leader=true, as last seen.
  std::set<std::string> Leaders() const;

 private:
  void Look();
  void Start(const boost::json::object& pod);
  bool Bind(const kubernetes::ObjectKey& pod);
  void Again(const std::string& uid);

  kernel_test::Servers& servers_;
  const std::string ns_;
  const uint16_t port_;
  Admin admin_;
  std::thread thread_;
  std::atomic<bool> held_{false}, stopping_{false};
  std::atomic<std::chrono::milliseconds> grace_{std::chrono::milliseconds(0)};
  std::map<std::string, std::chrono::steady_clock::time_point> ending_;  // by uid: since when
  mutable std::mutex mutex_;
  struct Pod {
    std::string revision;
    SocketAddress address;
    bool ready = false;
  };
  std::map<std::string, Pod> pods_;  // by uid
  std::map<std::string, uint8_t> ids_;
  std::set<std::string> leaders_;
  uint32_t next_address_ = 1;
};

}  // namespace weir::kubernetes_test
