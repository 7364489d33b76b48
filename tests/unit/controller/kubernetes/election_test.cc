// Leader election with a played clock and a played server.
#include "controller/kubernetes/client/election.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <functional>
#include <random>

#include "controller/kubernetes/client/api_error.h"

namespace weir::kubernetes {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;
using std::chrono::seconds;

/// The API server's part: one Lease, optimistic by resourceVersion.
class PlayedServer {
 public:
  Result<json::value> Carry(const Election::Action& action) {
    if (std::holds_alternative<Election::Get>(action))
      return lease_ ? Result<json::value>(*lease_) : Http(404);
    if (const auto* create = std::get_if<Election::Create>(&action)) {
      if (lease_) return Http(409, "AlreadyExists");
      return Store(create->lease);
    }
    const json::object& update = std::get<Election::Update>(action).lease;
    if (!lease_) return Http(404);
    if (ResourceVersionOf(update) != ResourceVersionOf(*lease_)) return Http(409, "Conflict");
    return Store(update);
  }
  void Remove() { lease_.reset(); }
  std::string holder() const {
    return lease_ ? std::string(Text(*lease_, {"spec", "holderIdentity"})) : "none";
  }
  const json::object& lease() const { return *lease_; }

 private:
  static Status Http(unsigned code, std::string_view reason = "") {
    return ApiError("x", code, json::value{{"kind", "Status"}, {"reason", reason}});
  }
  Result<json::value> Store(json::object lease) {
    lease["metadata"].as_object()["resourceVersion"] = std::to_string(++version_);
    lease_ = std::move(lease);
    return *lease_;
  }

  std::optional<json::object> lease_;
  int version_ = 0;
};

LeaseOptions Options(const std::string& identity) {
  LeaseOptions options;
  options.key = {"weir-system", "weir-controller"};
  options.identity = identity;
  return options;
}

/// A candidate in simulated time.
class Candidate {
 public:
  explicit Candidate(const std::string& identity, double random = 0.5)
      : identity_(identity), election_(Options(identity), [random] { return random; }) {}

  bool Held(MonotonicTime now) const { return election_.Held(now); }
  const std::string& identity() const { return identity_; }
  Election& election() { return election_; }
  /// Does what is due. `carry` gives the answer and how long it takes.
  template <typename Carry>
  void Run(MonotonicTime now, const Carry& carry) {
    while (due_ <= now) {
      Election::Action next = answer_ ? election_.OnAnswer(*std::exchange(answer_, std::nullopt), now, kWall)
                                      : election_.Next(now, kWall);
      if (const auto* wait = std::get_if<Election::Wait>(&next)) {
        due_ = now + std::max(wait->delay, milliseconds(1));
        continue;
      }
      auto [answer, after] = carry(next);
      answer_ = std::move(answer);
      due_ = now + after;
    }
  }

 private:
  static constexpr WallTime kWall{seconds(1'700'000'000)};
  std::string identity_;
  Election election_;
  MonotonicTime due_;
  std::optional<Result<json::value>> answer_;
};

class ElectionTest : public ::testing::Test {
 protected:
  /// Both candidates for so long, in steps of 10 ms; never two leaders.
  void Run(milliseconds span, const std::vector<Candidate*>& candidates) {
    for (const MonotonicTime end = now_ + span; now_ < end; now_ += milliseconds(10)) {
      for (Candidate* candidate : candidates) {
        candidate->Run(now_, [&](const Election::Action& action) {
          return std::pair(server_.Carry(action), milliseconds(10));
        });
      }
      const auto held = std::ranges::count_if(candidates, [&](Candidate* c) { return c->Held(now_); });
      ASSERT_LE(held, 1);
    }
  }

  PlayedServer server_;
  MonotonicTime now_{std::chrono::hours(1)};
};

TEST_F(ElectionTest, TheFirstCreatesTheLease) {
  Candidate a("a");
  Run(seconds(1), {&a});
  EXPECT_TRUE(a.Held(now_));
  const json::value lease(server_.lease());
  EXPECT_EQ(Text(lease, {"spec", "holderIdentity"}), "a");
  EXPECT_EQ(Find(lease, {"spec", "leaseDurationSeconds"})->as_int64(), 10);
  EXPECT_EQ(Find(lease, {"spec", "leaseTransitions"})->as_int64(), 0);
  EXPECT_EQ(Text(lease, {"spec", "renewTime"}), "2023-11-14T22:13:20.000000Z");
  EXPECT_EQ(Text(lease, {"metadata", "name"}), "weir-controller");
}

TEST_F(ElectionTest, ALeaderThatRenewsKeepsIt) {
  Candidate a("a"), b("b");
  Run(seconds(1), {&a});
  Run(std::chrono::minutes(5), {&a, &b});
  EXPECT_TRUE(a.Held(now_));
  EXPECT_FALSE(b.Held(now_));
  EXPECT_EQ(b.election().holder(), "a");
}

TEST_F(ElectionTest, TakeoverAfterADeathIsUnder15Seconds) {
  for (int offset = 0; offset < 2500; offset += 100) {
    server_.Remove();
    Candidate a("a"), b("b", 0.999);
    Run(seconds(1), {&a});
    Run(seconds(4) + milliseconds(offset), {&a, &b});
    ASSERT_TRUE(a.Held(now_));
    const MonotonicTime died = now_;
    while (!b.Held(now_) && now_ - died < seconds(30)) Run(milliseconds(10), {&b});
    EXPECT_LT(now_ - died, seconds(15)) << offset;
    EXPECT_GE(now_ - died, seconds(6)) << "before a had to notice " << offset;
    EXPECT_EQ(Find(server_.lease(), {"spec", "leaseTransitions"})->as_int64(), 1);
  }
}

TEST_F(ElectionTest, TheOthersClockDoesNotMatter) {
  // Times of another century, on either side.
  for (const std::string time : {"1999-01-01T00:00:00.000000Z", "2099-01-01T00:00:00.000000Z"}) {
    server_.Remove();
    ASSERT_TRUE(server_
                    .Carry(Election::Create{{{"metadata", json::object()},
                                             {"spec",
                                              {{"holderIdentity", "x"},
                                               {"leaseDurationSeconds", 10},
                                               {"renewTime", time},
                                               {"acquireTime", time}}}}})
                    .ok());
    Candidate b("b");
    const MonotonicTime began = now_;
    while (!b.Held(now_) && now_ - began < seconds(30)) Run(milliseconds(10), {&b});
    EXPECT_GE(now_ - began, seconds(10)) << time;
    EXPECT_LT(now_ - began, seconds(11)) << time;
  }
}

TEST_F(ElectionTest, WithoutAnAnswerItIsHeldUntilTheDeadlineAfterTheLastRequestThatSucceeded) {
  Candidate a("a");
  Run(seconds(1), {&a});
  const MonotonicTime until = *a.election().held_until();
  const MonotonicTime cut = now_;
  for (; now_ < cut + seconds(20); now_ += milliseconds(10)) {
    a.Run(now_, [](const Election::Action&) {
      return std::pair(Result<json::value>(Error(absl::StatusCode::kUnavailable, "x")), milliseconds(500));
    });
    EXPECT_EQ(a.Held(now_), now_ < until);
  }
  EXPECT_LE(until - cut, seconds(6));
  Run(seconds(3), {&a});
  EXPECT_TRUE(a.Held(now_));
}

TEST_F(ElectionTest, AWriteWhoseAnswerWasLostIsFoundToBeOnesOwn) {
  Candidate a("a");
  Run(seconds(1), {&a});
  bool lost = false;
  for (const MonotonicTime end = now_ + seconds(5); now_ < end; now_ += milliseconds(10)) {
    a.Run(now_, [&](const Election::Action& action) {
      Result<json::value> answer = server_.Carry(action);
      if (!std::exchange(lost, true)) answer = Error(absl::StatusCode::kDeadlineExceeded, "x");
      return std::pair(std::move(answer), milliseconds(10));
    });
    ASSERT_TRUE(a.Held(now_));
  }
  EXPECT_EQ(Find(server_.lease(), {"spec", "leaseTransitions"})->as_int64(), 0);
}

TEST_F(ElectionTest, ALeaderThatReadsAnotherHolderIsNoneAtOnce) {
  Candidate a("a");
  Run(seconds(1), {&a});
  json::object lease = server_.lease();
  lease["spec"].as_object()["holderIdentity"] = "x";
  ASSERT_TRUE(server_.Carry(Election::Update{lease}).ok());
  Run(milliseconds(2100), {&a});
  EXPECT_FALSE(a.Held(now_));
  EXPECT_EQ(a.election().holder(), "x");
}

TEST_F(ElectionTest, AReleasedLeaseIsTakenByTheNextAttempt) {
  Candidate a("a"), b("b");
  Run(seconds(1), {&a});
  Run(seconds(3), {&a, &b});
  const auto release = a.election().Release(WallTime{});
  ASSERT_TRUE(release);
  EXPECT_FALSE(a.Held(now_));
  ASSERT_TRUE(server_.Carry(*release).ok());
  EXPECT_EQ(server_.holder(), "");
  Run(milliseconds(2500), {&b});
  EXPECT_TRUE(b.Held(now_));
  EXPECT_FALSE(b.election().Release(WallTime{}) == std::nullopt);
  EXPECT_EQ(a.election().Release(WallTime{}), std::nullopt) << "it is another's now";
}

TEST_F(ElectionTest, WhatOthersPutIntoTheLeaseStays) {
  Candidate a("a");
  Run(seconds(1), {&a});
  json::object lease = server_.lease();
  lease["metadata"].as_object()["labels"] = {{"team", "x"}};
  ASSERT_TRUE(server_.Carry(Election::Update{lease}).ok());
  Run(seconds(10), {&a});
  EXPECT_TRUE(a.Held(now_));
  lease = server_.lease();
  EXPECT_EQ(Text(lease, {"metadata", "labels", "team"}), "x");
}

TEST_F(ElectionTest, ALeaseThatIsDeletedOrNotThereIsMadeWithPauses) {
  Candidate a("a");
  Run(seconds(1), {&a});
  server_.Remove();
  Run(seconds(4), {&a});
  EXPECT_TRUE(a.Held(now_));
  EXPECT_EQ(server_.holder(), "a");
  // The namespace is not there: creation is answered with 404, for ever.
  Candidate b("b");
  int asked = 0;
  for (const MonotonicTime end = now_ + seconds(20); now_ < end; now_ += milliseconds(10)) {
    b.Run(now_, [&](const Election::Action&) {
      ++asked;
      return std::pair(Result<json::value>(ApiError("x", 404, nullptr)), milliseconds(10));
    });
  }
  EXPECT_LE(asked, 25);
}

/// Three candidates, answers lost and late, processes that freeze: at no moment two leaders, and in the end
/// one.
TEST_F(ElectionTest, NeverTwo) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    const auto chance = [&](int percent) { return static_cast<int>(random() % 100) < percent; };
    PlayedServer server;
    std::deque<Candidate> candidates;
    for (const std::string name : {"a", "b", "c"}) candidates.emplace_back(name, (random() % 1000) / 1000.0);
    std::array<MonotonicTime, 3> frozen_until{};
    const auto carry = [&](bool trouble) {
      return [&, trouble](const Election::Action& action) {
        if (!trouble) return std::pair(server.Carry(action), milliseconds(10));
        const Status lost = Error(absl::StatusCode::kDeadlineExceeded, "x");
        // Not sent, carried out without an answer, or answered late.
        if (chance(15)) return std::pair(Result<json::value>(lost), milliseconds(3000));
        Result<json::value> answer = server.Carry(action);
        if (chance(15)) return std::pair(Result<json::value>(lost), milliseconds(3000));
        return std::pair(std::move(answer), milliseconds(random() % (chance(10) ? 3000 : 100)));
      };
    };
    const auto run = [&](seconds span, bool trouble) {
      for (const MonotonicTime end = now_ + span; now_ < end; now_ += milliseconds(20)) {
        for (size_t i = 0; i < candidates.size(); ++i) {
          if (trouble && random() % 2000 == 0) frozen_until[i] = now_ + milliseconds(random() % 20'000);
          if (now_ >= frozen_until[i]) candidates[i].Run(now_, carry(trouble));
        }
        const auto held = std::ranges::count_if(candidates, [&](const Candidate& c) { return c.Held(now_); });
        ASSERT_LE(held, 1) << "seed " << seed;
      }
    };
    run(seconds(120), true);
    frozen_until = {};
    run(seconds(20), false);
    const auto leader = std::ranges::find_if(candidates, [&](const Candidate& c) { return c.Held(now_); });
    ASSERT_NE(leader, candidates.end()) << "seed " << seed;
    EXPECT_EQ(server.holder(), leader->identity());
    if (HasFatalFailure()) return;
  }
}

TEST(LeaseOptionsTest, UnsafeOnesAreRefusedByName) {
  EXPECT_TRUE(CheckLeaseOptions(Options("a")).ok());
  const auto refused = [](const std::function<void(LeaseOptions&)>& change, const std::string& named) {
    LeaseOptions options = Options("a");
    change(options);
    const Status status = CheckLeaseOptions(options);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(Message(status).find(named), std::string::npos) << status;
  };
  refused([](LeaseOptions& o) { o.identity = ""; }, "identity");
  refused([](LeaseOptions& o) { o.identity = std::string(129, 'a'); }, "identity");
  refused([](LeaseOptions& o) { o.key.ns = ""; }, "namespace");
  refused([](LeaseOptions& o) { o.lease_duration = milliseconds(1500); }, "lease duration");
  refused([](LeaseOptions& o) { o.renew_deadline = seconds(10); }, "renew deadline");
  refused([](LeaseOptions& o) { o.retry_period = seconds(6); }, "retry period");
  refused([](LeaseOptions& o) { o.retry_period = seconds(0); }, "retry period");
}

}  // namespace
}  // namespace weir::kubernetes
