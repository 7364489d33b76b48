// Load on a VIP while the split changes, and the judgement of every single connection.
//
// The test tells when a change is under way and what is allowed once it is in force. A connection is
// *checked* when no change was under way from before its connect() until after it: then it must go to an
// allowed endpoint, and it must not fail. One that a change overlaps may go either way, and may fail only if
// the test says so.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/kernel/harness/client.h"
#include "tests/kernel/harness/sockets.h"

namespace weir::kernel_test {

inline constexpr int kMaxLoadClients = 4;

struct LoadState {
  std::atomic<uint32_t> epoch{0};  // odd: a change is under way
  std::atomic<bool> stop{false};
  std::atomic<bool> may_fail_in_change{false};
  std::atomic<bool> allowed[256];
  std::atomic<uint64_t> received[256];
  std::atomic<uint64_t> connections{0}, failed{0}, failed_in_change{0}, misdirected{0};
  std::atomic<uint32_t> checked[kMaxLoadClients];
  std::atomic<bool> first_error_taken{false};
  char first_error[256] = {};
};

class Load {
 public:
  /// One child process per cgroup, each with that many threads that dial the VIP over and over.
  Load(const std::vector<std::string>& cgroups, const SocketAddress& vip, int threads_each,
       Protocol protocol = Protocol::kTcp);
  ~Load();

  void BeginChange();
  /// The change is in force: from now on only these ids.
  void EndChange(const std::string& allowed_ids);
  /// From now on connections that a change overlaps may fail: a server dies during it.
  void MayFailInChange(bool may) { state_->may_fail_in_change = may; }
  /// Waits until every client has made `n` more checked connections; an error after ten seconds.
  Status WaitChecked(uint32_t n);
  /// Ends the clients. OK when none failed and none was misdirected.
  Status Stop();

  const LoadState& state() const { return *state_.get(); }

 private:
  Shared<LoadState> state_;
  std::vector<std::unique_ptr<ClientProcess>> clients_;
};

}  // namespace weir::kernel_test
