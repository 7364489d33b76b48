// Rollouts that decide by analysis: the real program, simulated agents that report what they counted, a
// server of the test's that answers what it is told.
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <thread>

#include "tests/integration/analysis/raw_server.h"
#include "tests/integration/controller/controller_fixture.h"
#include "tests/integration/controller/counted.h"

namespace weir::testing {

inline std::string HttpServiceYaml(const std::string& name = "checkout",
                                   const std::string& ip = "127.96.0.1") {
  return "apiVersion: v1\nkind: Service\nmetadata: {name: " + name +
         ", namespace: shop}\nspec: {clusterIP: " + ip +
         ", ports: [{name: http, port: 80, protocol: TCP, appProtocol: http}]}\n";
}

/// `provider`: one line of YAML, after "provider: ".
inline std::string TemplateYaml(const std::string& name, const std::string& metric) {
  return "apiVersion: argoproj.io/v1alpha1\nkind: AnalysisTemplate\nmetadata: {name: " + name +
         ", namespace: shop}\nspec:\n  args: [{name: token, value: none}]\n  metrics:\n  - " + metric + "\n";
}

inline std::string WithBackground(const std::string& revision, const std::string& steps,
                                  const std::string& analysis) {
  std::string yaml = RolloutYaml(revision, steps);
  return yaml + "      analysis: " + analysis + "\n";
}

/// A node's agent whose clients send traffic: a report a second, until it is stopped.
class Node {
 public:
  /// Errors of so many requests, of each revision, each second.
  struct Traffic {
    uint64_t requests = 0, errors = 0;
  };
  Node(const std::string& name, int port) : agent_(Options(name, port)) { agent_.Start(); }
  ~Node() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    agent_.Stop();
  }
  void Serve(const std::string& revision, Traffic traffic, const std::string& service = "checkout") {
    std::lock_guard lock(mutex_);
    traffic_[{service, revision}] = traffic;
    if (!thread_.joinable()) thread_ = std::thread([this] { Run(); });
  }
  SimAgent& agent() { return agent_; }

 private:
  static SimAgent::Options Options(const std::string& name, int port) {
    SimAgent::Options options;
    options.node_name = name;
    options.channel = Dial(port);
    options.reconnect = true;
    return options;
  }
  void Run() {
    auto next = std::chrono::steady_clock::now();
    while (!stop_) {
      {
        std::lock_guard lock(mutex_);
        for (const auto& [key, traffic] : traffic_)
          counted_.Serve(key.second, traffic.requests, traffic.errors, key.first);
        counted_.SendBy(agent_);
      }
      next += 1s;
      while (!stop_ && std::chrono::steady_clock::now() < next) std::this_thread::sleep_for(20ms);
    }
  }

  std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, Traffic> traffic_;
  Counted counted_;
  SimAgent agent_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

/// Answers every request as it was told last.
class Answers {
 public:
  struct Raw {};
  explicit Answers(const std::string& body) : Answers(Response(body), Raw()) {}
  /// All bytes of the answer; none: the connection stays open.
  Answers(const std::string& bytes, Raw) : server_(context_, bytes) {
    thread_ = std::thread([this] { context_.run(); });
  }
  ~Answers() {
    context_.stop();
    thread_.join();
  }
  std::string url() const { return server_.url(); }
  static std::string Response(const std::string& body) {
    return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " +
           std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" + body;
  }

 private:
  boost::asio::io_context context_;
  RawServer server_;
  std::thread thread_;
};

class AnalysisTest : public ControllerTest {
 protected:
  AnalysisTest() { Start(0); }

  void Start(int port) {
    controller_ = std::make_unique<Controller>(base_ / "state", port);
    ASSERT_TRUE(controller_->listening());
    client_ = std::make_unique<Client>(Dial(controller_->port()));
  }
  void Apply(const std::vector<std::string>& files) {
    const grpc::Status status = client_->Apply(files);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  /// The Service with both revisions, v1 stable.
  void Stable(const std::string& rollout) {
    Apply({HttpServiceYaml(), SliceYaml("v1", "127.0.1.1"), SliceYaml("v2", "127.0.2.1"), rollout});
    ASSERT_TRUE(client_->Watch([](const v1::Rollout& r) { return r.phase() == "Healthy"; }));
  }
  bool Becomes(const std::string& phase, std::chrono::milliseconds timeout = 60s) {
    return client_->Watch([&](const v1::Rollout& r) { return r.phase() == phase; }, timeout);
  }
  std::vector<v1::AnalysisRun> Runs(const std::string& name = "") {
    v1::ListRequest request;
    request.set_namespace_("shop");
    request.set_name(name);
    v1::ListAnalysisRunsResponse response;
    EXPECT_TRUE(client_->Call(&v1::WeirService::Stub::ListAnalysisRuns, request, &response).ok());
    return {response.runs().begin(), response.runs().end()};
  }
  std::string Refused(const std::vector<std::string>& files) {
    const grpc::Status status = client_->Apply(files, nullptr, /*dry_run=*/true);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    return status.error_message();
  }

  std::unique_ptr<Controller> controller_;
  std::unique_ptr<Client> client_;
};

constexpr char kSuccessRate[] =
    "[{setWeight: 20}, {analysis: {templates: [{templateName: weir-success-rate}]}}]";

}  // namespace weir::testing
