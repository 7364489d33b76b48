// Random traffic, restarts, reconnects, removals, duplicates, stragglers and lost messages: what the view
// holds stays within what happened, and equals it once every node has been heard again.
#include <gtest/gtest.h>

#include <array>
#include <random>

#include "tests/unit/controller/telemetry/node_counts.h"

namespace weir::telemetry {
namespace {

using std::chrono::milliseconds;

const ServiceKey kCheckout{"shop", "checkout"};
constexpr std::array kRevisions = {"v1", "v2", "v3"};

struct SimulatedNode {
  std::string name;
  NodeCounts counts;
  MonotonicTime stream{};
  v1::Telemetry last;
  std::map<std::string, uint64_t> unreported;  // happened since the node's last report that arrived
};

class Simulation {
 public:
  explicit Simulation(uint32_t seed) : random_(seed) {
    for (int i = 0; i < 4; ++i) {
      const std::string name = "node-" + std::to_string(i);
      nodes_.push_back({name, NodeCounts(name + "/0"), now_, {}, {}});
      Send(nodes_.back());
    }
  }

  void Step() {
    now_ += milliseconds(Pick(400));
    SimulatedNode& node = nodes_[Pick(nodes_.size())];
    switch (Pick(12)) {
      case 0:
        Restart(node);
        break;
      case 1:  // the stream ended, the same counters go on
        node.stream = now_;
        Send(node);
        break;
      case 2:
        Forget(node);
        break;
      case 3:  // a message twice
        cluster_.Report(node.name, node.stream, node.last, now_);
        break;
      case 4: {  // the older one of two again
        const v1::Telemetry old = node.last;
        Send(node);
        cluster_.Report(node.name, node.stream, old, now_);
        break;
      }
      default:
        Serve(node);
        if (Pick(2) == 0) Send(node);
    }
    Verify();
  }

  void Finish() {
    for (SimulatedNode& node : nodes_) Send(node);
    auto totals = cluster_.Totals(kCheckout);
    for (const auto& [revision, count] : happened_) {
      EXPECT_EQ(totals[revision].counts[Counter::kRequests], count) << revision;
      EXPECT_EQ(totals[revision].counts.latency.Count(), count) << revision;
    }
  }

 private:
  uint64_t Pick(uint64_t below) { return std::uniform_int_distribution<uint64_t>(0, below - 1)(random_); }

  void Serve(SimulatedNode& node) {
    const std::string revision = kRevisions[Pick(kRevisions.size())];
    const uint64_t count = Pick(50);
    node.counts.Serve(revision, count, count / 3, static_cast<uint32_t>(20 + Pick(60)));
    node.unreported[revision] += count;
  }

  void Send(SimulatedNode& node) {
    node.last = node.counts.Message(Pick(2) * 1000);
    cluster_.Report(node.name, node.stream, node.last, now_);
    // What a restarted or removed series said before is past; said again it would be a lie of the agent's.
    node.last.clear_forgotten();
    for (auto& [revision, count] : node.unreported) happened_[revision] += std::exchange(count, 0);
  }

  // What was not told before is lost with the counters.
  void Restart(SimulatedNode& node) {
    node.unreported.clear();
    node.counts.Restart(node.name + "/" + std::to_string(++epochs_));
    node.stream = now_;
    Send(node);
  }

  void Forget(SimulatedNode& node) {
    const std::string revision = kRevisions[Pick(kRevisions.size())];
    node.unreported.erase(revision);
    node.counts.Forget(revision);
    Send(node);
  }

  void Verify() {
    for (const auto& [revision, total] : cluster_.Totals(kCheckout)) {
      const uint64_t count = total.counts[Counter::kRequests];
      EXPECT_EQ(count, happened_[revision]) << revision;
      EXPECT_EQ(total.active, 0);
    }
    uint64_t within = 0;
    const Second second = SecondOf(now_);
    const auto windows = cluster_.Windows(kCheckout, 0, second + 1);
    for (const auto& window : windows) {
      EXPECT_GT(window.second, windows.back().second - Ring::kSeconds);
      for (const auto& [revision, counts] : window.revisions) {
        within += counts[Counter::kRequests];
        EXPECT_LE(counts[Counter::kServerErrors], counts[Counter::kResponses]);
      }
    }
    uint64_t happened = 0;
    for (const auto& [revision, count] : happened_) happened += count;
    EXPECT_LE(within, happened);
    const Second settled = cluster_.Settled(now_);
    EXPECT_GE(settled, settled_);
    settled_ = settled;
  }

  std::mt19937 random_;
  MonotonicTime now_ = BeginOf(5000);
  Cluster cluster_;
  std::vector<SimulatedNode> nodes_;
  std::map<std::string, uint64_t> happened_;
  int epochs_ = 0;
  Second settled_ = 0;
};

TEST(ClusterPropertyTest, TheViewEqualsWhatWasReported) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Simulation simulation(seed);
    for (int step = 0; step < 300; ++step) {
      simulation.Step();
      if (::testing::Test::HasFailure()) return;
    }
    simulation.Finish();
  }
}

}  // namespace
}  // namespace weir::telemetry
