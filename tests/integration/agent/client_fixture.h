// A client of the stream on a thread of its own, a fake datapath below it, a fake controller at the other
// end.
#pragma once

#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <condition_variable>
#include <future>
#include <map>
#include <mutex>
#include <thread>

#include "agent/datapath/fake_datapath.h"
#include "agent/stream/client.h"
#include "tests/integration/agent/fake_controller.h"

namespace weir::stream {

using namespace std::chrono_literals;

/// Counts and lets tests wait for a count. Any thread.
class Counter {
 public:
  void Add() {
    const std::lock_guard lock(mutex_);
    ++count_;
    changed_.notify_all();
  }
  bool WaitFor(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return count_ >= count; });
  }
  int count() {
    const std::lock_guard lock(mutex_);
    return count_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

/// Every message that arrives asks for the time: with the client's thread held, the calls count what has
/// arrived.
class ArrivalClock final : public Clock {
 public:
  MonotonicTime Now() const override {
    calls.Add();
    return system_.Now();
  }
  WallTime WallNow() const override { return system_.WallNow(); }
  mutable Counter calls;

 private:
  SystemClock system_;
};

class Reports final : public Observer {
 public:
  void Connected(bool now) override { connected = now; }
  void Reconnecting(std::string_view why) override { ++reasons[std::string(why)]; }
  void Applied(std::chrono::nanoseconds, const Status& status) override {
    ++(status.ok() ? applied : failed);
  }
  void Nacked() override { ++nacks; }
  void FiguresUnreadable() override { ++unreadable; }
  bool connected = false;
  std::map<std::string, int> reasons;
  int applied = 0, failed = 0, nacks = 0, unreadable = 0;
};

inline v1::FrontendKey Key(int n) {
  v1::FrontendKey key;
  key.set_address(std::string("\x7f\x60\x00", 3) + static_cast<char>(n));
  key.set_port(80);
  key.set_protocol(v1::PROTOCOL_TCP);
  return key;
}

inline v1::Update MakeUpdate(uint64_t generation, bool full, std::initializer_list<int> upserts,
                             std::initializer_list<int> removals = {}) {
  v1::Update update;
  update.set_generation(generation);
  update.set_full(full);
  update.set_last(true);
  for (const int n : upserts) {
    v1::Frontend* frontend = update.add_upserts();
    *frontend->mutable_key() = Key(n);
    frontend->set_affinity_timeout_seconds(static_cast<uint32_t>(generation));  // which update it came with
    frontend->add_variants()->set_revision("v1");
  }
  for (const int n : removals) *update.add_removals() = Key(n);
  return update;
}
inline v1::Update Full(uint64_t generation, std::initializer_list<int> upserts) {
  return MakeUpdate(generation, true, upserts);
}
inline v1::Update Delta(uint64_t generation, std::initializer_list<int> upserts,
                        std::initializer_list<int> removals = {}) {
  return MakeUpdate(generation, false, upserts, removals);
}

class ClientTest : public testing::Test {
 protected:
  ClientTest() : controller_(std::make_unique<FakeController>()), port_(controller_->port()) {
    options_.node_name = "node-1";
    options_.instance = "instance-1";
    options_.kernel_release = "6.1";
    options_.backoff = {.initial = 10ms, .max = 20ms};
    options_.telemetry_interval = 20ms;
  }
  ~ClientTest() override {
    if (!thread_.joinable()) return;
    Stop();
    thread_.join();
  }

  void Start() {
    client_ = std::make_unique<Client>(
        context_, clock_, datapath_, reports_,
        [this]() -> Result<std::shared_ptr<grpc::Channel>> {
          grpc::ChannelArguments arguments;
          arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
          return grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port_),
                                           grpc::InsecureChannelCredentials(), arguments);
        },
        [] { return 0.5; }, options_);
    boost::asio::post(context_, [this] { client_->Start(); });
    thread_ = std::thread([this] { context_.run(); });
  }
  void Stop() {
    std::promise<void> stopped;
    boost::asio::post(context_, [&] {
      client_->Stop([&] {
        client_.reset();
        work_.reset();
        stopped.set_value();
      });
    });
    stopped.get_future().wait();
  }
  /// Runs it on the client's thread.
  template <typename Look>
  auto On(Look look) {
    std::promise<decltype(look())> result;
    boost::asio::post(context_, [&] { result.set_value(look()); });
    return result.get_future().get();
  }
  /// A connected agent that holds generation 5 with frontends 1 and 2.
  std::shared_ptr<AgentStream> StartSynced() {
    Start();
    auto stream = controller_->NextAgent();
    if (!stream) return nullptr;
    stream->Welcome();
    stream->Send(Full(5, {1, 2}));
    EXPECT_EQ(stream->Answer(), "ack 5");
    return stream;
  }
  /// Frontend -> the generation it came with.
  std::map<int, uint64_t> Held() {
    return On([this] {
      std::map<int, uint64_t> held;
      for (const auto& [key, frontend] : datapath_.frontends) {
        held[key.address.address.mapped()[15]] = frontend.affinity_timeout_s;
      }
      return held;
    });
  }
  int Reason(std::string_view why) {
    return On([this, why] { return reports_.reasons[std::string(why)]; });
  }
  /// Holds the client's thread, sends what `send` sends (`messages` of them), and lets go when all have
  /// arrived.
  template <typename Send>
  void SendAtOnce(int messages, Send send) {
    std::promise<void> held, go;
    boost::asio::post(context_, [&] {
      held.set_value();
      go.get_future().wait();
    });
    held.get_future().wait();
    const int before = clock_.calls.count();
    send();
    EXPECT_TRUE(clock_.calls.WaitFor(before + messages));
    go.set_value();
  }
  using HeldMap = std::map<int, uint64_t>;

  boost::asio::io_context context_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_ =
      boost::asio::make_work_guard(context_);
  ArrivalClock clock_;
  datapath::FakeDatapath datapath_;
  Reports reports_;
  Client::Options options_;
  std::unique_ptr<FakeController> controller_;
  int port_;
  std::unique_ptr<Client> client_;
  std::thread thread_;
};

}  // namespace weir::stream
