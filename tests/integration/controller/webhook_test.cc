// Webhooks of the real program at a server of ours: order, signature, retries, the end of the process.
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <condition_variable>
#include <mutex>
#include <random>
#include <set>

#include "controller/webhooks/sender.h"
#include "tests/integration/controller/controller_fixture.h"

namespace weir::testing {
namespace {

namespace http = boost::beast::http;
using boost::asio::ip::tcp;
using Strings = std::vector<std::string>;

constexpr unsigned kNoAnswer = 0;

struct Received {
  std::string target, event, delivery, signature, header, body;
};

/// Answers each request with what `answer` says, by its number from 0; kNoAnswer: holds the connection open.
class Receiver {
 public:
  explicit Receiver(std::function<unsigned(size_t)> answer)
      : answer_(std::move(answer)), acceptor_(context_, tcp::v4()) {
    acceptor_.bind({boost::asio::ip::make_address("127.0.0.1"), 0});
  }
  ~Receiver() {
    if (!thread_.joinable()) return;
    stopping_ = true;
    tcp::socket wake(context_);
    boost::system::error_code ignored;
    wake.connect(acceptor_.local_endpoint(), ignored);
    thread_.join();
  }
  /// Until then its port is its own and refuses connections.
  Receiver& Open() {
    acceptor_.listen();
    thread_ = std::thread([this] { Run(); });
    return *this;
  }
  std::string url() const {
    return "http://127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port()) + "/token";
  }
  /// The requests so far, once there are `count`, or fewer after the time-out.
  std::vector<Received> Wait(size_t count, std::chrono::milliseconds timeout = 60s) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, timeout, [&] { return received_.size() >= count; });
    return received_;
  }

 private:
  void Run() {
    std::vector<tcp::socket> held;
    while (!stopping_) {
      tcp::socket socket(context_);
      boost::system::error_code error;
      acceptor_.accept(socket, error);
      if (error || stopping_) continue;
      boost::beast::flat_buffer buffer;
      http::request<http::string_body> request;
      http::read(socket, buffer, request, error);
      if (error) continue;
      const unsigned status = Take(request);
      if (status == kNoAnswer) {
        held.push_back(std::move(socket));
        continue;
      }
      http::response<http::string_body> response(static_cast<http::status>(status), 11);
      if (status / 100 == 3) response.set(http::field::location, url());
      response.prepare_payload();
      http::write(socket, response, error);
    }
  }
  unsigned Take(const http::request<http::string_body>& request) {
    const auto field = [&](const char* name) { return std::string(request[name]); };
    const std::lock_guard lock(mutex_);
    received_.push_back({std::string(request.target()), field("X-Weir-Event"), field("X-Weir-Delivery"),
                         field("X-Weir-Signature-256"), field("X-Team"), request.body()});
    changed_.notify_all();
    return answer_(received_.size() - 1);
  }

  const std::function<unsigned(size_t)> answer_;
  boost::asio::io_context context_;
  tcp::acceptor acceptor_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Received> received_;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

std::string WebhookYaml(const std::string& url, const std::string& more = "") {
  return "apiVersion: weir.dev/v1alpha1\nkind: Webhook\nmetadata: {name: people, namespace: shop}\nspec:\n  "
         "url: " +
         url + "\n  secret: hush\n  headers: [{key: X-Team, value: shop}]\n" + more;
}

Strings EventsOf(const std::vector<Received>& received) {
  Strings events;
  for (const Received& request : received) events.push_back(request.event);
  return events;
}

/// As a receiver should: each id once, where it came first.
std::vector<Received> Unique(const std::vector<Received>& received) {
  std::vector<Received> unique;
  std::set<std::string> ids;
  for (const Received& request : received) {
    if (ids.insert(request.delivery).second) unique.push_back(request);
  }
  return unique;
}

const std::string kSteps = "[{setWeight: 20}, {pause: {}}]";

class WebhookTest : public ControllerTest {
 protected:
  void Begin(const std::string& webhook) {
    const auto status = client_.Apply({ServiceYaml(), SliceYaml("v1", "127.0.1.1"),
                                       SliceYaml("v2", "127.0.1.2"), RolloutYaml("v1", kSteps), webhook});
    ASSERT_TRUE(status.ok()) << status.error_message();
    ASSERT_TRUE(client_.Apply({RolloutYaml("v2", kSteps)}).ok());
  }
  v1::WebhookStatus Report() {
    v1::ListWebhooksResponse response;
    EXPECT_TRUE(client_.Call(&v1::WeirService::Stub::ListWebhooks, v1::ListRequest(), &response).ok());
    return response.webhooks_size() == 1 ? response.webhooks(0) : v1::WebhookStatus();
  }
  /// Asked again until it holds; the last one.
  v1::WebhookStatus ReportWhen(const std::function<bool(const v1::WebhookStatus&)>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + 60s;
    v1::WebhookStatus report = Report();
    while (!condition(report) && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(20ms);  // between two questions
      report = Report();
    }
    EXPECT_TRUE(condition(report)) << report.DebugString();
    return report;
  }
  void KillAndStart() {
    EXPECT_EQ(controller_->End(SIGKILL), -SIGKILL);
    controller_ = std::make_unique<Controller>(base_ / "state", port_);
  }
  void Restart() {
    KillAndStart();
    client_ = Client(Dial(port_));
  }

  std::unique_ptr<Controller> controller_ = std::make_unique<Controller>(base_ / "state");
  int port_ = controller_->port();
  Client client_{Dial(port_)};
};

TEST_F(WebhookTest, EventsInOrderSignedAndAgainAfterAFailure) {
  // The second event is refused twice; the third waits for it.
  Receiver receiver([](size_t n) { return n == 1 ? 500U : n == 2 ? 429U : 204U; });
  Begin(WebhookYaml(receiver.Open().url()));
  auto received = receiver.Wait(5);
  ASSERT_EQ(EventsOf(received), (Strings{"started", "step", "step", "step", "paused"}));
  EXPECT_EQ(received[1].delivery, received[3].delivery);
  EXPECT_EQ(received[1].body, received[3].body);
  EXPECT_EQ(Unique(received).size(), 3u);
  for (const Received& request : received) {
    EXPECT_EQ(request.signature, "sha256=" + webhooks::HmacSha256("hush", request.body));
    EXPECT_EQ(request.target, "/token");
    EXPECT_EQ(request.header, "shop");
    EXPECT_NE(request.body.find("\"canary\":\"v2\""), std::string::npos) << request.body;
    EXPECT_NE(request.body.find("\"id\":\"" + request.delivery + "\""), std::string::npos) << request.body;
  }
  ASSERT_TRUE(client_.Abort().ok());
  received = receiver.Wait(6);
  ASSERT_EQ(received.size(), 6u);
  EXPECT_EQ(received[5].event, "aborted");
  const v1::WebhookStatus report = ReportWhen([](const auto& r) { return r.delivered() == 4; });
  EXPECT_EQ(report.retried(), 2u);
  EXPECT_EQ(report.failed(), 0u);
  EXPECT_EQ(report.waiting(), 0u);
  EXPECT_EQ(report.last_error(), receiver.url().substr(7, receiver.url().size() - 13) + ": answered 429");
}

TEST_F(WebhookTest, WhatIsShownHoldsNoSecret) {
  Receiver receiver([](size_t) { return 200U; });
  Begin(WebhookYaml(receiver.url(), "  retries: 0\n"));  // refuses connections
  const v1::WebhookStatus report = ReportWhen([](const auto& r) { return r.failed() == 3; });
  EXPECT_TRUE(report.signed_());
  EXPECT_EQ(report.server() + "/token", receiver.url());
  EXPECT_NE(report.last_error().find("cannot connect"), std::string::npos) << report.last_error();
  for (const char* secret : {"hush", "token", "X-Team", "rollout"})
    EXPECT_EQ(report.DebugString().find(secret), std::string::npos) << report.DebugString();
}

TEST_F(WebhookTest, ARefusalOrARedirectIsNotRepeated) {
  Receiver receiver([](size_t n) { return n == 0 ? 400U : n == 1 ? 302U : 200U; });
  Begin(WebhookYaml(receiver.Open().url(), "  bodyTemplate: '{\"text\": \"{{rollout}} {{event}}\"}'\n"));
  const auto received = receiver.Wait(3);
  ASSERT_EQ(EventsOf(received), (Strings{"started", "step", "paused"}));
  EXPECT_EQ(received[2].body, "{\"text\": \"checkout paused\"}");
  EXPECT_EQ(ReportWhen([](const auto& r) { return r.delivered() == 1; }).failed(), 2u);
}

TEST_F(WebhookTest, AServerThatNeverAnswersBlocksNoRollout) {
  Receiver silent([](size_t) { return kNoAnswer; });
  SimAgent agent({.node_name = "a", .channel = Dial(port_)});
  agent.Start();
  Begin(WebhookYaml(silent.Open().url(), "  timeout: 30s\n  retries: 20\n"));
  ASSERT_EQ(silent.Wait(1).size(), 1u);
  ASSERT_TRUE(agent.WaitFor(Holds({{"v1", 80}, {"v2", 20}})));
  ASSERT_TRUE(client_.Watch([](const v1::Rollout& r) { return r.phase() == "Paused"; }));
  ASSERT_TRUE(client_.Promote().ok());
  EXPECT_TRUE(client_.Watch(
      [](const v1::Rollout& r) { return r.phase() == "Healthy" && r.stable_revision() == "v2"; }));
  EXPECT_TRUE(agent.WaitFor(Holds({{"v2", 100}})));
  const v1::WebhookStatus report = Report();
  EXPECT_EQ(report.waiting(), 4u) << "started, step, paused, completed";
  EXPECT_EQ(report.delivered() + report.failed(), 0u);
  agent.Stop();
  // And its end is not held up either, though the answer is owed.
  EXPECT_EQ(controller_->End(SIGTERM), 0);
}

TEST_F(WebhookTest, ASlowAnswerIsGivenUpAfterTheTimeout) {
  Receiver slow([](size_t n) { return n == 0 ? kNoAnswer : 200U; });
  Begin(WebhookYaml(slow.Open().url(), "  timeout: 1s\n  events: [started]\n"));
  const auto received = slow.Wait(2);
  ASSERT_EQ(received.size(), 2u);
  EXPECT_EQ(received[0].delivery, received[1].delivery);
  const v1::WebhookStatus report = ReportWhen([](const auto& r) { return r.delivered() == 1; });
  EXPECT_NE(report.last_error().find("no answer within 1000 ms"), std::string::npos) << report.last_error();
}

TEST_F(WebhookTest, WhatWasWrittenAndNotSentOutlivesTheProcess) {
  // Nothing can be sent: the port refuses. All three are in the store when the process is killed.
  Receiver receiver([](size_t) { return 200U; });
  Begin(WebhookYaml(receiver.url(), "  retries: 20\n"));
  ASSERT_EQ(ReportWhen([](const auto& r) { return r.waiting() == 3 && !r.last_error().empty(); }).delivered(),
            0u);
  Restart();
  receiver.Open();
  EXPECT_EQ(EventsOf(receiver.Wait(3)), (Strings{"started", "step", "paused"}));
  ReportWhen([](const auto& r) { return r.delivered() == 3 && r.waiting() == 0; });
  // Delivered ones do not come again.
  Restart();
  ASSERT_TRUE(client_.Abort().ok());
  EXPECT_EQ(EventsOf(receiver.Wait(4)), (Strings{"started", "step", "paused", "aborted"}));
}

TEST_F(WebhookTest, SentButNotKnownToBeDeliveredComesAgainUnderTheSameId) {
  Receiver receiver([](size_t n) { return n == 0 ? kNoAnswer : 200U; });
  Begin(WebhookYaml(receiver.Open().url(), "  events: [started]\n  timeout: 60s\n"));
  ASSERT_EQ(receiver.Wait(1).size(), 1u);
  Restart();
  const auto received = receiver.Wait(2);
  ASSERT_EQ(received.size(), 2u);
  EXPECT_EQ(received[0].delivery, received[1].delivery);
  EXPECT_EQ(received[0].body, received[1].body);
}

TEST_F(WebhookTest, KilledAtAnyMomentNoEventIsLostAndNoneIsInvented) {
  Receiver receiver([](size_t) { return 200U; });
  Begin(WebhookYaml(receiver.Open().url(), "  retries: 20\n"));
  std::minstd_rand random(7);
  Strings wanted = {"started", "step", "paused"};
  const auto after_a_kill = [&](const std::function<grpc::Status()>& call,
                                const std::function<bool()>& done) {
    std::thread killer([&, delay = std::chrono::microseconds(random() % 20'000)] {
      std::this_thread::sleep_for(delay);  // the moment of the kill, which is what is tried out
      KillAndStart();
    });
    while (!done()) call();
    killer.join();
    client_ = Client(Dial(port_));
  };
  for (const char* const next : {"v1", "v2", "v1", "v2"}) {
    after_a_kill([&] { return client_.Promote(); }, [&] { return client_.Get().phase() == "Healthy"; });
    after_a_kill([&] { return client_.Apply({RolloutYaml(next, kSteps)}); },
                 [&] { return client_.Get().phase() == "Paused"; });
    for (const char* event : {"completed", "started", "step", "paused"}) wanted.emplace_back(event);
  }
  ReportWhen([](const auto& r) { return r.waiting() == 0; });
  EXPECT_EQ(EventsOf(Unique(receiver.Wait(wanted.size()))), wanted);
}

}  // namespace
}  // namespace weir::testing
