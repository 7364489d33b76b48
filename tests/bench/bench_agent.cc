// The agent as its controller sees it: from an update sent to its ack received. The bench plays the
// controller.
#include <fmt/format.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <cerrno>
#include <chrono>
#include <future>

#include "tests/bench/control_sections.h"
#include "tests/bench/memory.h"
#include "tests/bench/program.h"
#include "tests/bench/scenario.h"
#include "tests/bench/stats.h"
#include "tests/bench/worker.h"
#include "tests/kernel/harness/sandbox.h"
#include "weir/v1/agent.grpc.pb.h"

namespace weir::bench {
namespace {

using Stream = grpc::ServerReaderWriter<v1::ControllerMessage, v1::AgentMessage>;
constexpr size_t kServicesPerPart = 1000;  // stays below gRPC's 4 MiB

double Milliseconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

/// Lends the stream of the first agent that connects to another thread.
class OneStream final : public v1::AgentService::Service {
 public:
  grpc::Status Connect(grpc::ServerContext* context, Stream* stream) override {
    stream_.set_value(stream);
    done_.get_future().wait();
    context->TryCancel();
    return grpc::Status::OK;
  }
  Stream& Wait() { return *stream_.get_future().get(); }
  void Finish() { done_.set_value(); }

 private:
  std::promise<Stream*> stream_;
  std::promise<void> done_;
};

void FillFrontend(uint32_t service, uint32_t canary_weight, uint32_t per_service, v1::Frontend* frontend) {
  const auto address = [](const Ipv4Port& where) { return ToSocketAddress(where).address.ToBytes(); };
  frontend->mutable_key()->set_address(address(Vip(service)));
  frontend->mutable_key()->set_port(kVipPort);
  frontend->mutable_key()->set_protocol(v1::PROTOCOL_TCP);
  frontend->set_namespace_("bench");
  frontend->set_service(fmt::format("service-{}", service));
  frontend->set_on_empty(v1::ON_EMPTY_REFUSE);
  for (uint32_t variant = 0; variant < 2; ++variant) {
    v1::Variant* v = frontend->add_variants();
    v->set_revision(variant == 0 ? "v2" : "v1");
    v->set_role(variant == 0 ? v1::ROLE_CANARY : v1::ROLE_STABLE);
    v->set_weight(variant == 0 ? canary_weight : 100 - canary_weight);
    for (uint32_t j = variant == 0 ? 0 : 1; j < (variant == 0 ? 1 : per_service); ++j) {
      const Ipv4Port where = Endpoint(service, j, per_service);
      v->add_endpoints()->set_address(address(where));
      v->mutable_endpoints()->rbegin()->set_port(where.port);
    }
  }
}

void Send(Stream& stream, const v1::ControllerMessage& message) {
  if (!stream.Write(message)) Die("the agent closed its stream");
}

void AwaitAck(Stream& stream, uint64_t generation) {
  for (v1::AgentMessage message; stream.Read(&message);) {
    if (message.has_nack()) Die("the agent refused: " + message.nack().reason());
    if (message.has_ack() && message.ack().generation() == generation) return;
    if (message.has_heartbeat()) {
      v1::ControllerMessage answer;
      *answer.mutable_heartbeat() = message.heartbeat();
      Send(stream, answer);
    }
  }
  Die("the agent closed its stream");
}

std::vector<v1::ControllerMessage> Snapshot(uint64_t generation, uint32_t services, uint32_t per_service) {
  std::vector<v1::ControllerMessage> parts;
  for (uint32_t i = 0; i < services; ++i) {
    if (i % kServicesPerPart == 0) {
      v1::Update& update = *parts.emplace_back().mutable_update();
      update.set_generation(generation);
      update.set_full(true);
    }
    FillFrontend(i, 20, per_service, parts.back().mutable_update()->add_upserts());
  }
  parts.back().mutable_update()->set_last(true);
  return parts;
}

}  // namespace

void BenchAgent(const ControlSettings& settings) {
  std::vector<double> syncs;
  std::vector<double> changes;
  double agent_mib = 0, anonymous_mib = 0, maps_mib = 0, mapped_mib = 0;
  const std::vector<v1::ControllerMessage> snapshot = Snapshot(1, 10000, 10);
  const int repetitions = settings.quick ? 2 : 7;
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    OneStream service;
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service);
    const auto server = builder.BuildAndStart();
    const kernel_test::Cgroup cgroup(fmt::format("agent-{}", repetition));
    const Program agent({SiblingProgram("weir-agent"), "--node-name", "bench", "--cgroup", cgroup.path(),
                         "--bpffs", fmt::format("{}/agent-{}", kernel_test::TheSandbox().bpffs, repetition),
                         "--controller", fmt::format("127.0.0.1:{}", port), "--http", "127.0.0.1:0",
                         "--log-level", "error"});
    errno = 0;
    Stream& stream = service.Wait();
    v1::AgentMessage hello;
    if (!stream.Read(&hello) || !hello.has_hello()) Die("the agent did not say hello");
    v1::ControllerMessage welcome;
    welcome.mutable_welcome()->set_controller_id("6f0d5a4e-2f0a-4f5e-9b6a-0d5a4e2f0a4f");
    welcome.mutable_welcome()->mutable_heartbeat_interval()->set_milliseconds(10000);
    Send(stream, welcome);

    auto begin = std::chrono::steady_clock::now();
    for (const auto& part : snapshot) Send(stream, part);
    AwaitAck(stream, 1);
    syncs.push_back(Milliseconds(std::chrono::steady_clock::now() - begin));
    const Memory memory = MemoryOf(agent.pid());
    agent_mib = static_cast<double>(memory.resident) / 1048576;
    anonymous_mib = static_cast<double>(memory.anonymous) / 1048576;
    maps_mib = static_cast<double>(MapBytes(agent.pid())) / 1048576;
    mapped_mib = static_cast<double>(MappedMapBytes(agent.pid())) / 1048576;

    for (int i = 0; i < settings.changes() / repetitions; ++i) {
      v1::ControllerMessage message;
      v1::Update& update = *message.mutable_update();
      update.set_generation(static_cast<uint64_t>(i) + 2);
      update.set_base_generation(static_cast<uint64_t>(i) + 1);
      update.set_last(true);
      FillFrontend(0, i % 2 == 0 ? 50 : 20, 10, update.add_upserts());
      begin = std::chrono::steady_clock::now();
      Send(stream, message);
      AwaitAck(stream, update.generation());
      changes.push_back(1000 * Milliseconds(std::chrono::steady_clock::now() - begin));
    }
    service.Finish();
    server->Shutdown();
  }
  const Spread spread = SpreadOf(syncs);
  PrintHeading(
      "weir-agent over gRPC",
      "10,000 services with 100,000 endpoints in one snapshot, then changes of one weight: from sent by the "
      "controller (which the bench plays) to ack received, both ways over loopback included.");
  PrintTable({"what", "times", "p50", "p99", "greatest"},
             {{"first full sync, ms", std::to_string(syncs.size()), Number(spread.median, 0),
               Number(Percentile(syncs, 99), 0), Number(Percentile(syncs, 100), 0)},
              {"change of one weight, us", std::to_string(changes.size()), Number(Percentile(changes, 50), 0),
               Number(Percentile(changes, 99), 0), Number(Percentile(changes, 100), 0)}});
  PrintTable({"memory of weir-agent, 10,000 services", "MiB"},
             {{"VmRSS", Number(agent_mib, 1)},
              {"of it RssAnon", Number(anonymous_mib, 1)},
              {"BPF maps (memlock)", Number(maps_mib, 1)},
              {"of them mapped, and so in VmRSS too", Number(mapped_mib, 1)},
              {"VmRSS and maps, each page once", Number(agent_mib + maps_mib - mapped_mib, 1)}});
}

}  // namespace weir::bench
