#include "tests/bench/played_controller.h"

#include <fmt/format.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <cerrno>

#include "tests/bench/scenario.h"
#include "tests/bench/worker.h"

namespace weir::bench {
namespace {

constexpr size_t kServicesPerPart = 1000;  // stays below gRPC's 4 MiB

}  // namespace

class PlayedController::Service final : public v1::AgentService::Service {
 public:
  grpc::Status Connect(grpc::ServerContext* context, Stream* stream) override {
    stream_.set_value(stream);
    done_.get_future().wait();
    context->TryCancel();
    return grpc::Status::OK;
  }
  Stream* Wait() { return stream_.get_future().get(); }
  void Finish() { done_.set_value(); }

 private:
  std::promise<Stream*> stream_;
  std::promise<void> done_;
};

PlayedController::PlayedController() : service_(std::make_unique<Service>()) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(service_.get());
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) Die("listen for the agent");
}

PlayedController::~PlayedController() {
  service_->Finish();
  server_->Shutdown();
}

std::string PlayedController::address() const { return fmt::format("127.0.0.1:{}", port_); }

void PlayedController::Welcome() {
  errno = 0;
  stream_ = service_->Wait();
  v1::AgentMessage hello;
  if (!stream_->Read(&hello) || !hello.has_hello()) Die("the agent did not say hello");
  v1::ControllerMessage welcome;
  welcome.mutable_welcome()->set_controller_id("6f0d5a4e-2f0a-4f5e-9b6a-0d5a4e2f0a4f");
  welcome.mutable_welcome()->mutable_heartbeat_interval()->set_milliseconds(10000);
  Send(welcome);
}

void PlayedController::Send(const v1::ControllerMessage& message) {
  if (!stream_->Write(message)) Die("the agent closed its stream");
}

void PlayedController::AwaitAck(uint64_t generation) {
  for (v1::AgentMessage message; stream_->Read(&message);) {
    if (message.has_nack()) Die("the agent refused: " + message.nack().reason());
    if (message.has_ack() && message.ack().generation() == generation) return;
    if (message.has_heartbeat()) {
      v1::ControllerMessage answer;
      *answer.mutable_heartbeat() = message.heartbeat();
      Send(answer);
    }
  }
  Die("the agent closed its stream");
}

void FillFrontend(uint32_t service, std::optional<uint32_t> canary_weight, uint32_t per_service,
                  v1::Frontend* frontend) {
  const auto address = [](const Ipv4Port& where) { return ToSocketAddress(where).address.ToBytes(); };
  frontend->mutable_key()->set_address(address(Vip(service)));
  frontend->mutable_key()->set_port(kVipPort);
  frontend->mutable_key()->set_protocol(v1::PROTOCOL_TCP);
  frontend->set_namespace_("bench");
  frontend->set_service(fmt::format("service-{}", service));
  frontend->set_on_empty(v1::ON_EMPTY_REFUSE);
  const auto add = [&](const char* revision, v1::Role role, uint32_t weight, uint32_t begin, uint32_t end) {
    v1::Variant* variant = frontend->add_variants();
    variant->set_revision(revision);
    variant->set_role(role);
    variant->set_weight(weight);
    for (uint32_t place = begin; place < end; ++place) {
      const Ipv4Port where = Endpoint(service, place, per_service);
      v1::Endpoint* endpoint = variant->add_endpoints();
      endpoint->set_address(address(where));
      endpoint->set_port(where.port);
    }
  };
  if (canary_weight) add("v2", v1::ROLE_CANARY, *canary_weight, 0, 1);
  add("v1", v1::ROLE_STABLE, 100 - canary_weight.value_or(0), canary_weight ? 1 : 0, per_service);
}

std::vector<v1::ControllerMessage> Snapshot(uint64_t generation, uint32_t services, uint32_t per_service,
                                            std::optional<uint32_t> canary_weight) {
  std::vector<v1::ControllerMessage> parts;
  for (uint32_t i = 0; i < services; ++i) {
    if (i % kServicesPerPart == 0) {
      v1::Update& update = *parts.emplace_back().mutable_update();
      update.set_generation(generation);
      update.set_full(true);
    }
    FillFrontend(i, canary_weight, per_service, parts.back().mutable_update()->add_upserts());
  }
  parts.back().mutable_update()->set_last(true);
  return parts;
}

}  // namespace weir::bench
