// The client against a server that misbehaves in ways a real one cannot be made to.
#include "controller/kubernetes/client/client.h"

#include <gtest/gtest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <future>
#include <set>

#include "controller/kubernetes/client/api_error.h"
#include "controller/kubernetes/client/reflector.h"
#include "tests/unit/controller/kubernetes/played_server.h"

namespace weir::kubernetes {
namespace {

using absl::StatusCode;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Session = PlayedServer::Session;
using Asked = PlayedServer::Request;

const Resource kPods{"", "v1", "pods"};
const ObjectKey kA{"shop", "a"};
constexpr std::string_view kEmptyList = R"({"metadata":{"resourceVersion":"5"},"items":[]})";

class KubernetesClientTest : public ::testing::Test {
 protected:
  void Serve(PlayedServer::Handler handler, const ClientOptions& options = {}) {
    server_ = std::make_unique<PlayedServer>(std::move(handler));
    Access access;
    access.server = {.https = false, .host = "127.0.0.1", .port = server_->port(), .target = "/"};
    access.token = "t";
    auto client = Client::Create(context_, access, options);
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
  }
  bool RunUntil(const std::function<bool()>& holds) {
    const auto deadline = std::chrono::steady_clock::now() + seconds(20);
    while (!holds()) {
      const auto left = deadline - std::chrono::steady_clock::now();
      if (left <= seconds(0)) return false;
      context_.restart();
      context_.run_one_for(left);
    }
    return true;
  }
  Result<Response> Ask(ApiRequest request) {
    std::optional<Result<Response>> answer;
    client_->Send(std::move(request), [&](Result<Response> got) { answer = std::move(got); });
    EXPECT_FALSE(answer) << "answered from within Send";
    if (!RunUntil([&] { return answer.has_value(); }))
      return Error(StatusCode::kInternal, "no answer at all");
    return *std::move(answer);
  }
  static ApiRequest Within(ApiRequest request, milliseconds timeout) {
    request.timeout = timeout;
    return request;
  }

  boost::asio::io_context context_;
  std::unique_ptr<PlayedServer> server_;  // after the client, whose connections it waits for
  std::unique_ptr<Client> client_;
};

TEST_F(KubernetesClientTest, WhatIsSent) {
  std::promise<Asked> asked;
  Serve([&](Session& session, const Asked& request) {
    asked.set_value(request);
    session.Answer(200, R"({"kind":"Pod"})");
  });
  const auto answer = Ask(MergePatchRequest(kPods, kA, {{"x", 1}}));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(Text(answer->body, {"kind"}), "Pod");
  const Asked request = asked.get_future().get();
  EXPECT_EQ(request.method_string(), "PATCH");
  EXPECT_EQ(request.target(), "/api/v1/namespaces/shop/pods/a?fieldManager=weir-controller");
  EXPECT_EQ(request["Authorization"], "Bearer t");
  EXPECT_EQ(request["Content-Type"], "application/merge-patch+json");
  EXPECT_EQ(request["Accept"], "application/json");
  EXPECT_EQ(request.body(), R"({"x":1})");
}

TEST_F(KubernetesClientTest, ChunkedBodiesArePutTogether) {
  Serve([](Session& session, const Asked&) {
    session.BeginChunks();
    for (const std::string piece : {"{\"a\":", "[1,", "2]}"}) session.Chunk(piece);
    session.EndChunks();
  });
  const auto answer = Ask(GetRequest(kPods, kA));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(boost::json::serialize(answer->body), R"({"a":[1,2]})");
}

TEST_F(KubernetesClientTest, AConnectionThatTheServerClosedBetweenRequestsIsReplaced) {
  // Closed without a word, as by a proxy's idle timeout.
  Serve([](Session& session, const Asked&) {
    session.Answer(200, "{}");
    session.Close();
  });
  EXPECT_TRUE(Ask(GetRequest(kPods, kA)).ok());
  // Also for a request that may not be repeated, once the end has arrived: nothing has been sent on it.
  ASSERT_TRUE(RunUntil([&] { return server_->requests() == 1; }));
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(Ask(GetRequest(kPods, kA)).ok()) << i;
  EXPECT_EQ(client_->counters().errors, 0U);
}

TEST_F(KubernetesClientTest, OneThatClosesOnTheNextRequestIsRetriedOnceAndOnlyIfThatIsHarmless) {
  std::atomic<int> on_old = 0;
  std::set<int> used;
  Serve([&](Session& session, const Asked&) {
    if (!used.insert(session.number()).second) {
      ++on_old;
      return session.Close();
    }
    session.Answer(200, "{}");
  });
  EXPECT_TRUE(Ask(GetRequest(kPods, kA)).ok());
  EXPECT_TRUE(Ask(GetRequest(kPods, kA)).ok());
  EXPECT_EQ(on_old, 1);
  EXPECT_EQ(client_->counters().stale, 1U);
  EXPECT_EQ(Ask(CreateRequest(kPods, "shop", {})).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(on_old, 2);
}

TEST_F(KubernetesClientTest, AServerThatAlwaysClosesIsNotAskedForEver) {
  Serve([](Session& session, const Asked&) { session.Close(); });
  const auto answer = Ask(GetRequest(kPods, kA));
  EXPECT_EQ(answer.status().code(), StatusCode::kUnavailable);
  EXPECT_TRUE(Message(answer.status()).starts_with("GET /api/v1/namespaces/shop/pods/a: http://127.0.0.1:"))
      << answer.status();
  EXPECT_EQ(server_->requests(), 1);
}

TEST_F(KubernetesClientTest, RetryAfterIsHonoured) {
  std::atomic<int> asked = 0;
  Serve([&](Session& session, const Asked&) {
    if (++asked <= 2) return session.Answer(asked == 1 ? 429 : 503, "{}", "Retry-After: 0\r\n");
    session.Answer(200, "{}");
  });
  EXPECT_TRUE(Ask(CreateRequest(kPods, "shop", {})).ok());  // refused ones were not carried out
  EXPECT_EQ(asked, 3);
  EXPECT_EQ(client_->counters().throttled, 2U);
}

TEST_F(KubernetesClientTest, ALongerRetryAfterThanThereIsTimeForIsTheCallers) {
  Serve([](Session& session, const Asked&) {
    session.Answer(429, R"({"kind":"Status","reason":"TooManyRequests"})", "Retry-After: 60\r\n");
  });
  const auto answer = Ask(GetRequest(kPods, kA));
  EXPECT_EQ(answer.status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(RetryAfterOf(answer.status()), seconds(60));
  EXPECT_EQ(server_->requests(), 1);
}

TEST_F(KubernetesClientTest, OneThatIsSilentIsGivenUpAndItsConnectionWithIt) {
  std::atomic<int> asked = 0;
  Serve(
      [&](Session& session, const Asked&) { asked++ == 0 ? session.BeSilent() : session.Answer(200, "{}"); });
  EXPECT_EQ(Ask(Within(GetRequest(kPods, kA), milliseconds(100))).status().code(),
            StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(Ask(GetRequest(kPods, kA)).ok());
  EXPECT_EQ(client_->counters().connections, 2U);
}

TEST_F(KubernetesClientTest, WhoWaitsForAConnectionHasADeadlineTooAndTheUrgentDoNotWait) {
  ClientOptions options;
  options.max_connections = 1;
  options.max_waiting = 2;
  Serve(
      [](Session& session, const Asked& request) {
        request.target().ends_with("slow") ? session.BeSilent() : session.Answer(200, "{}");
      },
      options);
  std::vector<StatusCode> ended;
  const auto note = [&](const Result<Response>& got) { ended.push_back(got.status().code()); };
  client_->Send(Within(GetRequest(kPods, {"shop", "slow"}), milliseconds(400)), note);
  ASSERT_TRUE(RunUntil([&] { return server_->requests() == 1 || client_->counters().requests == 1; }));
  client_->Send(Within(GetRequest(kPods, kA), milliseconds(100)), note);
  ApiRequest urgent = GetRequest(kPods, kA);
  urgent.urgent = true;
  EXPECT_TRUE(Ask(urgent).ok());
  EXPECT_TRUE(ended.empty());
  ASSERT_TRUE(RunUntil([&] { return ended.size() == 2; }));
  EXPECT_EQ(ended[0], StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(Ask(GetRequest(kPods, kA)).ok());
}

TEST_F(KubernetesClientTest, TooManyAtOnceAreRefused) {
  ClientOptions options;
  options.max_waiting = 3;
  Serve([](Session& session, const Asked&) { session.Answer(200, "{}"); }, options);
  std::multiset<StatusCode> ended;
  for (int i = 0; i < 5; ++i)
    client_->Send(GetRequest(kPods, kA),
                  [&](const Result<Response>& got) { ended.insert(got.status().code()); });
  ASSERT_TRUE(RunUntil([&] { return ended.size() == 5; }));
  EXPECT_EQ(ended.count(StatusCode::kOk), 3U);
  EXPECT_EQ(ended.count(StatusCode::kResourceExhausted), 2U);
}

TEST_F(KubernetesClientTest, ABodyHasABound) {
  ClientOptions options;
  options.max_body = 1000;
  Serve([](Session& session, const Asked&) { session.Answer(200, '"' + std::string(2000, 'a') + '"'); },
        options);
  EXPECT_EQ(Ask(GetRequest(kPods, kA)).status().code(), StatusCode::kResourceExhausted);
}

TEST_F(KubernetesClientTest, AnAnswerThatIsNoJsonOrBreaksOff) {
  Serve([](Session& session, const Asked& request) {
    if (request.target().ends_with("page")) return session.Answer(200, "<html>");
    session.Raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{");
    session.Close();
  });
  EXPECT_EQ(Ask(GetRequest(kPods, {"shop", "page"})).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(Ask(GetRequest(kPods, kA)).status().code(), StatusCode::kUnavailable);
}

TEST_F(KubernetesClientTest, StopEndsWhatIsUnderWay) {
  Serve([](Session& session, const Asked&) { session.BeSilent(); });
  std::vector<StatusCode> ended;
  const auto note = [&](const Result<Response>& got) { ended.push_back(got.status().code()); };
  client_->Send(GetRequest(kPods, kA), note);
  Client::StreamHandler handler;
  handler.on_end = [&](const Status& status) { ended.push_back(status.code()); };
  const auto stream = client_->OpenStream(GetRequest(kPods, kA), seconds(60), handler);
  ASSERT_TRUE(RunUntil([&] { return client_->counters().requests == 2; }));
  client_->Stop();
  client_->Send(GetRequest(kPods, kA), note);
  ASSERT_TRUE(RunUntil([&] { return ended.size() == 3; }));
  EXPECT_EQ(ended, std::vector<StatusCode>(3, StatusCode::kCancelled));
}

TEST_F(KubernetesClientTest, CallWaitsOnAnotherThreadAndRefusesTheOwn) {
  Serve([](Session& session, const Asked& request) {
    request.target().ends_with("slow") ? session.BeSilent() : session.Answer(200, "{}");
  });
  const auto work = boost::asio::make_work_guard(context_);
  std::thread loop([this] { context_.run(); });
  EXPECT_TRUE(client_->Call(GetRequest(kPods, kA)).ok());
  EXPECT_EQ(client_->Call(Within(GetRequest(kPods, {"shop", "slow"}), milliseconds(100))).status().code(),
            StatusCode::kDeadlineExceeded);
  std::promise<StatusCode> own;
  boost::asio::post(context_, [&] { own.set_value(client_->Call(GetRequest(kPods, kA)).status().code()); });
  EXPECT_EQ(own.get_future().get(), StatusCode::kFailedPrecondition);
  // Nobody runs the io_context.
  context_.stop();
  loop.join();
  EXPECT_EQ(client_->Call(Within(GetRequest(kPods, kA), milliseconds(50))).status().code(),
            StatusCode::kDeadlineExceeded);
}

/// A reflector on a played server: its watches are handled by `watch`, with their number from 0.
class KubernetesReflectorTest : public KubernetesClientTest {
 protected:
  void Start(std::function<void(Session&, int)> watch, seconds watch_for = seconds(60)) {
    Serve([this, watch = std::move(watch)](Session& session, const Asked& request) {
      if (request.target().find("watch=true") == std::string_view::npos)
        return session.Answer(200, std::string(kEmptyList));
      watch(session, watches_++);
    });
    ReflectorOptions options;
    options.resource = kPods;
    options.watch_min = options.watch_max = watch_for;
    options.backoff = {milliseconds(1), milliseconds(10), 2.0};
    ReflectorCallbacks callbacks;
    callbacks.on_put = [this](boost::json::object&& object) { names_.push_back(KeyOf(object).name); };
    callbacks.on_error = [this](const Status& status) { errors_.push_back(status); };
    reflector_ = std::make_unique<Reflector>(*client_, options, callbacks);
    reflector_->Start();
  }
  static std::string Added(int version) {
    return fmt::format(
        R"({{"type":"ADDED","object":{{"metadata":{{"name":"p{0}","resourceVersion":"{0}"}}}}}})"
        "\n",
        version);
  }

  std::atomic<int> watches_ = 0;
  std::vector<std::string> names_;
  std::vector<Status> errors_;
  std::unique_ptr<Reflector> reflector_;
};

TEST_F(KubernetesReflectorTest, EventsArriveAsTheyAreSentHoweverTheyAreCut) {
  std::promise<void> first_seen;
  Start([&, seen = first_seen.get_future().share()](Session& session, int) {
    session.BeginChunks();
    session.Chunk(Added(6));
    seen.wait();  // a client that gathers before it tells would never see the first one
    std::string rest;
    for (int version = 7; version < 200; ++version) rest += Added(version);
    for (size_t at = 0; at < rest.size(); at += 37) session.Chunk(rest.substr(at, 37));
    session.BeSilent();
  });
  ASSERT_TRUE(RunUntil([&] { return names_.size() == 1; }));
  first_seen.set_value();
  ASSERT_TRUE(RunUntil([&] { return names_.size() == 194; }));
  EXPECT_EQ(names_.back(), "p199");
}

TEST_F(KubernetesReflectorTest, AWatchCutInMidLineIsResumedAfterTheLastWholeOne) {
  Start([](Session& session, int watch) {
    session.BeginChunks();
    if (watch > 0) {
      session.Chunk(Added(7));
      return session.BeSilent();
    }
    session.Chunk(Added(6) + Added(7).substr(0, 30));
    session.Close();
  });
  ASSERT_TRUE(RunUntil([&] { return names_.size() == 2; }));
  EXPECT_EQ(names_, (std::vector<std::string>{"p6", "p7"}));
  EXPECT_EQ(reflector_->counters().lists, 1U);
  EXPECT_EQ(reflector_->counters().errors, 1U);
}

TEST_F(KubernetesReflectorTest, ALineWithoutAnEndIsNotGatheredForEver) {
  Start([](Session& session, int watch) {
    session.BeginChunks();
    if (watch > 0) return session.BeSilent();
    const std::string piece(size_t{1} << 20, 'x');
    for (int i = 0; i < 20; ++i) session.Chunk(piece);
    session.BeSilent();
  });
  ASSERT_TRUE(RunUntil([&] { return watches_ == 2; }));
  ASSERT_FALSE(errors_.empty());
  EXPECT_EQ(errors_[0].code(), StatusCode::kResourceExhausted);
}

TEST_F(KubernetesReflectorTest, ARefusedWatchIsAskedForAgainWhenTheServerSaysSo) {
  Start([](Session& session, int watch) {
    if (watch == 0) return session.Answer(429, R"({"kind":"Status"})", "Retry-After: 1\r\n");
    session.BeginChunks();
    session.Chunk(Added(6));
    session.BeSilent();
  });
  ASSERT_TRUE(RunUntil([&] { return names_.size() == 1; }));
  ASSERT_EQ(errors_.size(), 1U);
  EXPECT_EQ(RetryAfterOf(errors_[0]), seconds(1));
}

TEST_F(KubernetesClientTest, AStreamThatGoesOnTooLongOrDoesNotBeginIsTornDown) {
  Serve([](Session& session, const Asked& request) {
    if (request.target().ends_with("mute")) return session.BeSilent();
    session.BeginChunks();
    session.BeSilent();
  });
  const auto end_of = [&](const std::string& name) {
    bool opened = false;
    std::optional<Status> end;
    Client::StreamHandler handler;
    handler.on_open = [&] { opened = true; };
    handler.on_end = [&](const Status& status) { end = status; };
    const auto stream = client_->OpenStream(Within(GetRequest(kPods, {"shop", name}), milliseconds(300)),
                                            milliseconds(name == "mute" ? 60'000 : 600), handler);
    EXPECT_TRUE(RunUntil([&] { return end.has_value(); }));
    EXPECT_EQ(opened, name != "mute");
    return end.value_or(OkStatus());
  };
  EXPECT_NE(Message(end_of("mute")).find("no answer within 300 ms"), std::string::npos);
  EXPECT_NE(Message(end_of("watch")).find("it has not ended within 600 ms"), std::string::npos);
}

TEST_F(KubernetesClientTest, AStreamMayEndItselfInItsOwnCallback) {
  Serve([](Session& session, const Asked&) {
    session.BeginChunks();
    session.Chunk("a\n");
    session.BeSilent();
  });
  std::unique_ptr<Client::Stream> stream;
  bool seen = false;
  Client::StreamHandler handler;
  handler.on_data = [&](std::string_view) {
    seen = true;
    stream.reset();
  };
  handler.on_end = [](const Status&) { ADD_FAILURE() << "it was told of its own end"; };
  stream = client_->OpenStream(GetRequest(kPods, kA), seconds(60), handler);
  ASSERT_TRUE(RunUntil([&] { return seen; }));
  context_.restart();
  context_.poll();
}

}  // namespace
}  // namespace weir::kubernetes
