// A real weir-controller process on free ports, its clients, and manifests to give it.
#pragma once

#include <fcntl.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/sim_agent.h"
#include "weir/v1/rollouts.grpc.pb.h"

namespace weir::testing {

using namespace std::chrono_literals;

inline std::string ServiceYaml() {
  return R"(apiVersion: v1
kind: Service
metadata: {name: checkout, namespace: shop}
spec: {clusterIP: 127.96.0.1, ports: [{name: http, port: 80, protocol: TCP}]}
)";
}

inline std::string SliceYaml(const std::string& revision, const std::string& address) {
  return "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: checkout-" + revision +
         "\n  namespace: shop\n  labels: {kubernetes.io/service-name: checkout, weir.dev/revision: " +
         revision +
         "}\naddressType: IPv4\nports: [{name: http, port: 8081, protocol: TCP}]\nendpoints: [{addresses: [" +
         address + "], conditions: {ready: true}}]\n";
}

inline std::string RolloutYaml(const std::string& revision, const std::string& steps) {
  return "apiVersion: weir.dev/v1alpha1\nkind: Rollout\nmetadata: {name: checkout, namespace: shop}\nspec:\n"
         "  service: checkout\n  revision: " +
         revision + "\n  strategy:\n    canary:\n      steps: " + steps + "\n";
}

class Controller {
 public:
  /// Starts the program and waits until it listens; `port` 0: any.
  Controller(const std::filesystem::path& state, int port = 0, std::vector<std::string> more = {}) {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    std::vector<std::string> args = {
        WEIR_CONTROLLER, "--state",     state.string(), "--listen", "127.0.0.1:" + std::to_string(port),
        "--http",        "127.0.0.1:0", "--log-level",  "warn",     "--heartbeat-ms",
        "1000"};
    args.insert(args.end(), more.begin(), more.end());
    std::vector<char*> argv;
    for (auto& arg : args) argv.push_back(arg.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(ends[1], STDOUT_FILENO);
      execv(argv[0], argv.data());
      _exit(127);
    }
    close(ends[1]);
    std::string line;
    char c = 0;
    while (read(ends[0], &c, 1) == 1 && c != '\n') line += c;
    close(ends[0]);
    size_t grpc = line.find("grpc=");
    if (grpc == std::string::npos) return;
    address_ = line.substr(grpc + 5, line.find(' ', grpc) - grpc - 5);
    port_ = std::stoi(address_.substr(address_.rfind(':') + 1));
    size_t http = line.find("http=");
    if (http != std::string::npos) http_port_ = std::stoi(line.substr(line.rfind(':') + 1));
  }
  ~Controller() { End(SIGTERM); }

  bool listening() const { return port_ != 0; }
  int port() const { return port_; }
  int http_port() const { return http_port_; }
  const std::string& address() const { return address_; }
  /// Sends the signal and returns the exit code, or -signal.
  int End(int signal) {
    if (pid_ <= 0) return 0;
    kill(pid_, signal);
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
  int port_ = 0, http_port_ = 0;
  std::string address_;
};

inline std::shared_ptr<grpc::Channel> Dial(int port) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 20);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);  // also the time a connection may take
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials(),
                                   arguments);
}

/// Calls of weirctl, each with a deadline.
class Client {
 public:
  explicit Client(std::shared_ptr<grpc::Channel> channel) : stub_(v1::WeirService::NewStub(channel)) {}

  template <typename Request, typename Response>
  grpc::Status Call(grpc::Status (v1::WeirService::Stub::*method)(grpc::ClientContext*, const Request&,
                                                                  Response*),
                    const Request& request, Response* response) {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(std::chrono::system_clock::now() + 5s);
    return ((*stub_).*method)(&context, request, response);
  }
  grpc::Status Apply(const std::vector<std::string>& files, v1::ApplyResponse* response = nullptr,
                     bool dry_run = false) {
    v1::ApplyRequest request;
    request.set_dry_run(dry_run);
    for (size_t i = 0; i < files.size(); ++i) {
      v1::ManifestFile& file = *request.add_files();
      file.set_name("file" + std::to_string(i) + ".yaml");
      file.set_yaml(files[i]);
    }
    v1::ApplyResponse unused;
    return Call(&v1::WeirService::Stub::Apply, request, response != nullptr ? response : &unused);
  }
  static v1::ObjectName Checkout() {
    v1::ObjectName name;
    name.set_namespace_("shop");
    name.set_name("checkout");
    return name;
  }
  v1::Rollout Get() {
    v1::Rollout rollout;
    Call(&v1::WeirService::Stub::GetRollout, Checkout(), &rollout);
    return rollout;
  }
  grpc::Status Promote() {
    v1::PromoteRequest request;
    request.set_namespace_("shop");
    request.set_name("checkout");
    v1::Rollout rollout;
    return Call(&v1::WeirService::Stub::Promote, request, &rollout);
  }
  grpc::Status Abort() {
    v1::Rollout rollout;
    return Call(&v1::WeirService::Stub::Abort, Checkout(), &rollout);
  }
  /// Follows the figures until `condition` holds; the answer it held for, or none after the timeout.
  std::optional<v1::FiguresResponse> WatchFigures(
      const std::function<bool(const v1::FiguresResponse&)>& condition, v1::FiguresRequest request = {},
      std::chrono::milliseconds timeout = 20s) {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(std::chrono::system_clock::now() + timeout);
    if (request.interval_ms() == 0) request.set_interval_ms(100);
    auto reader = stub_->WatchFigures(&context, request);
    v1::FiguresResponse response;
    std::optional<v1::FiguresResponse> met;
    while (!met && reader->Read(&response)) {
      if (condition(response)) met = response;
    }
    if (met) context.TryCancel();
    while (reader->Read(&response)) {
    }
    figures_ended = reader->Finish();
    return met;
  }
  grpc::Status figures_ended;  // how the last WatchFigures ended

  /// Follows the watch until `condition` holds; false after the timeout.
  bool Watch(const std::function<bool(const v1::Rollout&)>& condition,
             std::chrono::milliseconds timeout = 10s) {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(std::chrono::system_clock::now() + timeout);
    v1::ListRequest request;
    auto reader = stub_->WatchRollouts(&context, request);
    v1::RolloutEvent event;
    bool met = false;
    while (!met && reader->Read(&event)) met = condition(event.rollout());
    context.TryCancel();
    while (reader->Read(&event)) {
    }
    reader->Finish();
    return met;
  }

 private:
  std::unique_ptr<v1::WeirService::Stub> stub_;
};

class ControllerTest : public ::testing::Test {
 protected:
  ControllerTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "weir-controller-XXXXXX").string();
    base_ = mkdtemp(pattern.data());
  }
  ~ControllerTest() override { std::filesystem::remove_all(base_); }

  std::filesystem::path base_;
};

inline std::function<bool(const SimAgent::View&)> Holds(const Weights& weights) {
  return [weights](const SimAgent::View& view) { return SimAgent::WeightsOf(view) == weights; };
}

}  // namespace weir::testing
