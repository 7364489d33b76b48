// The way of notifications to their webhooks, over a transport that the test answers for.
#include "controller/webhooks/sender.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

namespace weir::webhooks {
namespace {

using model::ObjectKey;
using Strings = std::vector<std::string>;

const ObjectKey kRollout{"shop", "checkout"};

HttpAnswer Answer(unsigned status) { return {.status = status, .body = {}}; }

std::string HeaderOf(const HttpCall& call, const std::string& name) {
  std::string value;  // the last one counts
  for (const auto& [key, text] : call.headers) {
    if (key == name) value = text;
  }
  return value;
}

class SenderTest : public testing::Test, protected Owner {
 protected:
  const model::Webhook* FindWebhook(const ObjectKey& key) const override {
    const auto found = webhooks.find(key);
    return found == webhooks.end() ? nullptr : &found->second;
  }
  void OnNotified(const ObjectKey& rollout, uint64_t number) override {
    ended.push_back(model::ToString(rollout) + " " + std::to_string(number));
  }

  void Have(const std::string& name, uint32_t retries) {
    model::Webhook& webhook = webhooks[{"shop", name}];
    webhook.key = {"shop", name};
    webhook.url = "https://" + name + ".example.com/token-in-path";
    webhook.retries = retries;
  }
  void Offer(const std::string& webhook, uint64_t number) {
    const std::string text = std::to_string(number);
    sender.Offer(kRollout, {number, webhook, {{"id", text}, {"event", "paused"}, {"rollout", "checkout"}}});
  }
  /// Everything that is due; delays are 0, and real.
  void Run() {
    context.restart();
    context.poll();
  }
  /// Gives the oldest call of that webhook its answer.
  void Reply(const std::string& webhook, Result<HttpAnswer> answer) {
    auto& of = calls[webhook + ".example.com"];
    ASSERT_FALSE(of.empty());
    const HttpClient::Done done = std::exchange(of.front().done, nullptr);
    seen.push_back(webhook + " " + HeaderOf(of.front().call, "X-Weir-Delivery"));
    of.erase(of.begin());
    done(std::move(answer));
    // A retry waits for a timer of 0 ms: once round the loop for it.
    Run();
    Run();
  }
  size_t Calls(const std::string& webhook) { return calls[webhook + ".example.com"].size(); }
  Report ReportOf(const std::string& name) { return sender.ReportOf({"shop", name}); }

  struct Under {
    HttpCall call;
    HttpClient::Done done;
  };
  boost::asio::io_context context;
  FakeClock clock;
  std::map<ObjectKey, model::Webhook> webhooks;
  std::map<std::string, std::vector<Under>> calls;  // by host, without an answer yet
  Strings seen, ended;
  Sender sender{context,
                clock,
                [] { return 0.0; },
                Sender::Options{.max_waiting = 3},
                [this](HttpCall call, HttpClient::Done done) {
                  const std::string host = call.url.host;
                  calls[host].push_back({std::move(call), std::move(done)});
                },
                *this};
};

TEST_F(SenderTest, OneAtATimeInOrder) {
  Have("a", 0);
  Offer("a", 1);
  Offer("a", 2);
  Offer("a", 1);  // is on its way
  EXPECT_EQ(Calls("a"), 0u) << "nothing from within Offer";
  Run();
  ASSERT_EQ(Calls("a"), 1u);
  EXPECT_EQ(ReportOf("a").waiting, 2u);
  EXPECT_TRUE(ended.empty()) << "what is under way is not over";
  Reply("a", Answer(200));
  ASSERT_EQ(Calls("a"), 1u);
  Reply("a", Answer(204));
  EXPECT_EQ(Calls("a"), 0u);
  EXPECT_EQ(seen, (Strings{"a 1", "a 2"}));
  EXPECT_EQ(ended, (Strings{"shop/checkout 1", "shop/checkout 2"}));
  EXPECT_EQ(ReportOf("a").delivered, 2u);
  EXPECT_EQ(ReportOf("a").waiting, 0u);
  EXPECT_EQ(ReportOf("a").last_error, "");
}

TEST_F(SenderTest, AFailureIsTriedAgainAsOftenAsTheWebhookSays) {
  Have("a", 2);
  Offer("a", 1);
  Offer("a", 2);
  Run();
  Reply("a", Answer(500));
  Reply("a", Error(absl::StatusCode::kUnavailable, "https://a.example.com: cannot connect"));
  EXPECT_TRUE(ended.empty());
  Reply("a", Answer(429));
  EXPECT_EQ(ended, Strings{"shop/checkout 1"}) << "given up";
  Reply("a", Answer(503));  // the next one has all its tries
  Reply("a", Answer(200));
  EXPECT_EQ(seen, (Strings{"a 1", "a 1", "a 1", "a 2", "a 2"}));
  const Report report = ReportOf("a");
  EXPECT_EQ(report.retried, 3u);
  EXPECT_EQ(report.failed, 1u);
  EXPECT_EQ(report.delivered, 1u);
  EXPECT_EQ(report.last_error, "a.example.com: answered 503");
  EXPECT_EQ(report.last_error_at, clock.WallNow());
}

TEST_F(SenderTest, ARefusalOrARedirectIsFinal) {
  Have("a", 5);
  uint64_t number = 0;
  for (const unsigned status : {301U, 302U, 307U, 400U, 401U, 404U, 410U}) {
    Offer("a", ++number);
    Run();
    Reply("a", Answer(status));
    EXPECT_EQ(ended.size(), number) << status;
  }
  for (const unsigned status : {408U, 425U, 429U, 500U, 502U, 599U}) {
    Offer("a", ++number);
    Run();
    Reply("a", Answer(status));
    ASSERT_EQ(Calls("a"), 1u) << status;
    Reply("a", Answer(200));
  }
  EXPECT_EQ(ReportOf("a").failed, 7u);
  EXPECT_EQ(ReportOf("a").delivered, 6u);
}

TEST_F(SenderTest, ASlowWebhookHoldsUpNoOther) {
  Have("slow", 0);
  Have("quick", 0);
  for (uint64_t number = 1; number <= 4; number += 2) {
    Offer("slow", number);
    Offer("quick", number + 1);
  }
  Run();
  Reply("quick", Answer(200));
  Reply("quick", Answer(200));
  EXPECT_EQ(ReportOf("quick").delivered, 2u);
  EXPECT_EQ(Calls("slow"), 1u);
  EXPECT_EQ(ReportOf("slow").waiting, 2u);
}

TEST_F(SenderTest, TheOldestThatWaitGiveWay) {
  Have("a", 0);
  Offer("a", 1);
  Run();  // 1 is under way, and is not taken back
  for (uint64_t number = 2; number <= 6; ++number) Offer("a", number);
  EXPECT_TRUE(ended.empty()) << "nothing from within Offer";
  Run();
  EXPECT_EQ(ended, (Strings{"shop/checkout 2", "shop/checkout 3", "shop/checkout 4"}));
  EXPECT_EQ(ReportOf("a").dropped, 3u);
  for (int i = 0; i < 3; ++i) Reply("a", Answer(200));
  EXPECT_EQ(seen, (Strings{"a 1", "a 5", "a 6"}));
}

TEST_F(SenderTest, WithoutItsWebhookNothingWaits) {
  Have("a", 3);
  Offer("a", 1);
  Offer("a", 2);
  Offer("gone", 3);
  Run();
  EXPECT_EQ(ended, Strings{"shop/checkout 3"});
  webhooks.erase({"shop", "a"});
  Reply("a", Answer(500));
  EXPECT_EQ(ended, (Strings{"shop/checkout 3", "shop/checkout 1", "shop/checkout 2"}));
  EXPECT_EQ(ReportOf("a").dropped, 0u) << "its figures went with it";
}

TEST_F(SenderTest, ARetryGoesWhereTheWebhookPointsNow) {
  Have("a", 3);
  Offer("a", 1);
  Run();
  webhooks[{"shop", "a"}].url = "http://b.example.com:81/";
  Reply("a", Answer(500));
  ASSERT_EQ(Calls("b"), 1u);
  EXPECT_EQ(calls["b.example.com"].front().call.url.port, 81);
}

TEST_F(SenderTest, WhatIsSent) {
  Have("a", 0);
  model::Webhook& webhook = webhooks[{"shop", "a"}];
  webhook.secret = "hush";
  webhook.headers = {{"Authorization", "Bearer x"}, {"Content-Type", "text/plain"}};
  webhook.body_template = "{{rollout}} {{event}} {{id}}";
  webhook.timeout = std::chrono::milliseconds(1234);
  Offer("a", 7);
  Run();
  const HttpCall& call = calls["a.example.com"].front().call;
  EXPECT_EQ(call.method, "POST");
  EXPECT_EQ(call.url.target, "/token-in-path");
  EXPECT_EQ(call.timeout, std::chrono::milliseconds(1234));
  EXPECT_EQ(call.body, "checkout paused 7");
  EXPECT_EQ(HeaderOf(call, "Authorization"), "Bearer x");
  EXPECT_EQ(HeaderOf(call, "Content-Type"), "text/plain");
  EXPECT_EQ(HeaderOf(call, "X-Weir-Event"), "paused");
  EXPECT_EQ(HeaderOf(call, "X-Weir-Delivery"), "7");
  EXPECT_EQ(HeaderOf(call, "X-Weir-Signature-256"), "sha256=" + HmacSha256("hush", "checkout paused 7"));
  Reply("a", Answer(403));
  for (const char* secret : {"hush", "Bearer", "token-in-path"})
    EXPECT_EQ(ReportOf("a").last_error.find(secret), std::string::npos) << ReportOf("a").last_error;
}

TEST_F(SenderTest, ItsServerIsTrustedByItsOwnCa) {
  Have("inside", 0);
  webhooks[{"shop", "inside"}].ca_pem = "a CA";
  Have("outside", 0);
  Offer("inside", 1);
  Offer("outside", 2);
  Run();
  ASSERT_EQ(Calls("inside"), 1U);
  EXPECT_EQ(calls["inside.example.com"].front().call.ca_pem, "a CA");
  EXPECT_EQ(calls["outside.example.com"].front().call.ca_pem, "") << "the system's";
}

TEST_F(SenderTest, WithoutASecretNothingIsSigned) {
  Have("a", 0);
  Offer("a", 1);
  Run();
  EXPECT_EQ(HeaderOf(calls["a.example.com"].front().call, "X-Weir-Signature-256"), "");
}

TEST_F(SenderTest, AfterShutdownNothingCountsAsOver) {
  Have("a", 3);
  Offer("a", 1);
  Offer("a", 2);
  Run();
  sender.Shutdown();
  Reply("a", Error(absl::StatusCode::kCancelled, "given up"));
  Offer("a", 3);
  Run();
  EXPECT_EQ(Calls("a"), 0u);
  EXPECT_TRUE(ended.empty()) << "all of it is for the next start";
}

TEST_F(SenderTest, WhatWasStruckOutMayComeAgain) {
  // The owner could not write that it was delivered, and offers it once more: at least once.
  Have("a", 0);
  Offer("a", 1);
  Run();
  Reply("a", Answer(200));
  Offer("a", 1);
  Run();
  EXPECT_EQ(Calls("a"), 1u);
}

}  // namespace
}  // namespace weir::webhooks
