// Clients on every node that dial a Service over and over while something else happens, and where each of
// their connections went, in order. A split is exact in every hundred: a weight that moved for a moment shows
// in the hundred it fell into.
#pragma once

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/kernel/harness/client.h"
#include "tests/kernel/harness/sockets.h"

namespace weir::kubernetes_test {

class SteadyDials {
 public:
  SteadyDials(const std::vector<std::string>& cgroups, const SocketAddress& vip) {
    std::atomic<bool>* stop = stop_.get();
    for (const std::string& cgroup : cgroups) {
      clients_.push_back(
          std::make_unique<kernel_test::ClientProcess>(cgroup, [stop, vip]() -> Result<std::string> {
            std::string ids;
            while (!*stop || ids.size() % 100 != 0) {
              const auto id = kernel_test::Fetch(vip);
              if (!id.ok()) return Annotate(id.status(), fmt::format("connection {}", ids.size()));
              ids.push_back(static_cast<char>(*id));
              std::this_thread::sleep_for(std::chrono::milliseconds(3));  // a client's pace
            }
            return ids;
          }));
    }
  }
  ~SteadyDials() { *stop_.get() = true; }

  /// Ends the clients. Every hundred of every one's connections went exactly so, by server id, and none
  /// failed.
  ::testing::AssertionResult Stop(const std::map<uint8_t, int>& expected) {
    *stop_.get() = true;
    for (size_t node = 0; node < clients_.size(); ++node) {
      const auto ids = clients_[node]->Wait();
      if (!ids.ok()) return ::testing::AssertionFailure() << "node " << node << ": " << Message(ids.status());
      for (size_t hundred = 0; hundred * 100 < ids->size(); ++hundred) {
        std::map<uint8_t, int> counts;
        for (const char id : ids->substr(hundred * 100, 100)) ++counts[static_cast<uint8_t>(id)];
        if (counts != expected)
          return ::testing::AssertionFailure()
                 << fmt::format("node {}, connections {} to {} of {}: {}, expected {}", node, hundred * 100,
                                hundred * 100 + 99, ids->size(), counts, expected);
      }
      connections_ += ids->size();
    }
    return ::testing::AssertionSuccess();
  }
  /// That were judged.
  size_t connections() const { return connections_; }

 private:
  kernel_test::Shared<std::atomic<bool>> stop_;
  std::vector<std::unique_ptr<kernel_test::ClientProcess>> clients_;
  size_t connections_ = 0;
};

}  // namespace weir::kubernetes_test
