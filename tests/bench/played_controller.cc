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

}  // namespace weir::bench
