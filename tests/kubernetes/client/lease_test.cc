// Two candidates for one Lease on a real API server: who leads, who takes over, and who notices that it no
// longer leads.
#include "controller/kubernetes/client/lease.h"

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <future>
#include <thread>

#include "tests/kubernetes/client/client_fixture.h"

namespace weir::kubernetes_test {
namespace {

using namespace weir::kubernetes;  // NOLINT(google-build-using-namespace): nearly all of it is used here
using std::chrono::milliseconds;
using std::chrono::seconds;
using SteadyClock = std::chrono::steady_clock;

const Resource kLeases{"coordination.k8s.io", "v1", "leases"};

/// A replica with an io_context and a thread of its own, so that it can be stopped as by SIGSTOP.
class Candidate {
 public:
  Candidate(const Access& access, LeaseOptions options) : work_(boost::asio::make_work_guard(context_)) {
    auto client = Client::Create(context_, access);
    EXPECT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
    LeaseCallbacks callbacks;
    callbacks.on_elected = [this] { ++elected; };
    callbacks.on_deposed = [this] {
      deposed_at = SteadyClock::now();
      ++deposed;
    };
    lease_ = std::make_unique<Lease>(*client_, std::move(options), callbacks);
    boost::asio::post(context_, [this] { lease_->Start(); });
    thread_ = std::thread([this] { context_.run(); });
  }
  ~Candidate() {
    Resume();
    context_.stop();
    thread_.join();
  }
  Candidate(const Candidate&) = delete;
  Candidate& operator=(const Candidate&) = delete;

  bool Held() const { return lease_->Held(); }

  /// Its thread does nothing until Resume().
  void Freeze() {
    frozen_ = std::make_unique<std::promise<void>>();
    boost::asio::post(context_, [until = frozen_->get_future().share()] { until.wait(); });
  }
  void Resume() {
    if (frozen_) frozen_->set_value();
    frozen_.reset();
  }
  Status StopAndRelease() {
    std::promise<Status> done;
    boost::asio::post(context_,
                      [&] { lease_->Stop([&done](const Status& status) { done.set_value(status); }); });
    return done.get_future().get();
  }

  std::atomic<int> elected = 0, deposed = 0;
  std::atomic<SteadyClock::time_point> deposed_at{};

 private:
  boost::asio::io_context context_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<Lease> lease_;
  std::unique_ptr<std::promise<void>> frozen_;
  std::thread thread_;
};

class LeaseTest : public ClientFixture {
 protected:
  std::unique_ptr<Candidate> Begin(const std::string& identity) {
    LeaseOptions options;
    options.key = {ns(), "weir-controller"};
    options.identity = identity;
    // A fifth of the defaults, in their proportions.
    options.lease_duration = seconds(2);
    options.renew_deadline = milliseconds(1200);
    options.retry_period = milliseconds(400);
    EXPECT_TRUE(CheckLeaseOptions(options).ok());
    const auto access = FromKubeconfig(plane().admin_kubeconfig());
    EXPECT_TRUE(access.ok()) << access.status();
    return std::make_unique<Candidate>(*access, options);
  }
  std::string Holder() {
    const auto got = Ask(GetRequest(kLeases, {ns(), "weir-controller"}));
    return got.ok() ? std::string(Text(got->body, {"spec", "holderIdentity"})) : Message(got.status());
  }
  int64_t Transitions() {
    const auto got = Ask(GetRequest(kLeases, {ns(), "weir-controller"}));
    return got.ok() ? Find(got->body, {"spec", "leaseTransitions"})->as_int64() : -1;
  }
};

TEST_F(LeaseTest, OneLeadsAndTheOtherWaits) {
  const auto a = Begin("a");
  ASSERT_TRUE(RunUntil([&] { return a->Held(); }));
  const auto b = Begin("b");
  // Past the time at which a lease that is not renewed would have run out.
  const auto until = SteadyClock::now() + seconds(3);
  ASSERT_TRUE(RunUntil([&] {
    EXPECT_TRUE(a->Held());
    EXPECT_FALSE(b->Held());
    return SteadyClock::now() > until;
  }));
  EXPECT_EQ(Holder(), "a");
  EXPECT_EQ(Transitions(), 0);
  EXPECT_EQ(a->elected, 1);
  EXPECT_EQ(a->deposed, 0);
}

TEST_F(LeaseTest, ALeaderThatIsStuckIsNoneBeforeTheOtherTakesOver) {
  const auto a = Begin("a");
  ASSERT_TRUE(RunUntil([&] { return a->Held(); }));
  const auto b = Begin("b");
  a->Freeze();
  // Nobody at all for a while, but never two.
  bool none = false;
  ASSERT_TRUE(RunUntil([&] {
    const bool second = b->Held();
    const bool first = a->Held();
    EXPECT_FALSE(first && second);
    none = none || (!first && !second);
    return second;
  }));
  EXPECT_TRUE(none);
  EXPECT_EQ(Holder(), "b");
  EXPECT_EQ(Transitions(), 1);
  a->Resume();
  ASSERT_TRUE(RunUntil([&] { return a->deposed == 1; }));
  EXPECT_FALSE(a->Held());
  EXPECT_TRUE(b->Held());
}

TEST_F(LeaseTest, AReleasedLeaseIsTakenWithoutWaitingForItsEnd) {
  const auto a = Begin("a");
  ASSERT_TRUE(RunUntil([&] { return a->Held(); }));
  const auto b = Begin("b");
  const Status released = a->StopAndRelease();
  EXPECT_TRUE(released.ok()) << released;
  EXPECT_FALSE(a->Held());
  EXPECT_EQ(a->deposed, 1);
  ASSERT_TRUE(RunUntil([&] { return b->Held(); }));
  EXPECT_EQ(Holder(), "b");
  EXPECT_EQ(a->elected, 1);
}

TEST_F(LeaseTest, WithoutAServerTheLeaderStepsDownAndLeadsAgainWhenItIsBack) {
  const auto a = Begin("a");
  ASSERT_TRUE(RunUntil([&] { return a->Held(); }));
  plane().KillApiServer();
  ASSERT_TRUE(RunUntil([&] { return a->deposed == 1; }));
  EXPECT_FALSE(a->Held());
  const Status restarted = plane().StartApiServer();
  ASSERT_TRUE(restarted.ok()) << restarted;
  ASSERT_TRUE(RunUntil([&] { return a->elected == 2 && a->Held(); }));
}

TEST_F(LeaseTest, ALeaseThatSomebodyTookAwayDeposesAtOnce) {
  const auto a = Begin("a");
  ASSERT_TRUE(RunUntil([&] { return a->Held(); }));
  const json::object patch{{"spec", {{"holderIdentity", "somebody"}, {"leaseDurationSeconds", 60}}}};
  ASSERT_TRUE(Ask(MergePatchRequest(kLeases, {ns(), "weir-controller"}, patch)).ok());
  ASSERT_TRUE(RunUntil([&] { return a->deposed == 1; }));
  EXPECT_FALSE(a->Held());
  ASSERT_TRUE(Ask(DeleteRequest(kLeases, {ns(), "weir-controller"})).ok());
  ASSERT_TRUE(RunUntil([&] { return a->Held(); }));
}

}  // namespace
}  // namespace weir::kubernetes_test
