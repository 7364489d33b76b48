#include "tests/bench/api_client.h"

#include <fmt/format.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <cerrno>
#include <chrono>
#include <iterator>

#include "tests/bench/scenario.h"
#include "tests/bench/worker.h"

namespace weir::bench {
namespace {

constexpr const char* kNamespace = "bench";
constexpr const char* kName = "service-0";

void Require(const grpc::Status& status, const char* call) {
  errno = 0;
  if (!status.ok()) Die(fmt::format("{}: {}", call, status.error_message()));
}

}  // namespace

ApiClient::ApiClient(const std::string& address)
    : stub_(v1::WeirService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()))) {}

ApiClient::~ApiClient() {
  watch_.TryCancel();
  if (reader_.joinable()) reader_.join();
}

void ApiClient::Apply(const std::string& yaml) {
  grpc::ClientContext context;
  v1::ApplyRequest request;
  v1::ApplyResponse response;
  v1::ManifestFile* file = request.add_files();
  file->set_name("bench.yaml");
  file->set_yaml(yaml);
  Require(stub_->Apply(&context, request, &response), "Apply");
}

v1::Rollout ApiClient::SetWeight(uint32_t weight) {
  grpc::ClientContext context;
  v1::SetWeightRequest request;
  v1::Rollout rollout;
  request.set_namespace_(kNamespace);
  request.set_name(kName);
  request.set_weight(weight);
  Require(stub_->SetWeight(&context, request, &rollout), "SetWeight");
  return rollout;
}

v1::Rollout ApiClient::Command(Verb verb) {
  grpc::ClientContext context;
  v1::Rollout rollout;
  if (verb == Verb::kPromote) {
    v1::PromoteRequest request;
    request.set_namespace_(kNamespace);
    request.set_name(kName);
    Require(stub_->Promote(&context, request, &rollout), "Promote");
    return rollout;
  }
  v1::ObjectName request;
  request.set_namespace_(kNamespace);
  request.set_name(kName);
  if (verb == Verb::kAbort) {
    Require(stub_->Abort(&context, request, &rollout), "Abort");
  } else {
    Require(stub_->Retry(&context, request, &rollout), "Retry");
  }
  return rollout;
}

void ApiClient::Watch() {
  reader_ = std::thread([this] {
    v1::ListRequest request;
    request.set_namespace_(kNamespace);
    request.set_name(kName);
    const auto stream = stub_->WatchRollouts(&watch_, request);
    for (v1::RolloutEvent event; stream->Read(&event);) {
      const std::scoped_lock lock(mutex_);
      seen_ = event.rollout();
      any_ = true;
      changed_.notify_all();
    }
  });
}

v1::Rollout ApiClient::WaitFor(const std::function<bool(const v1::Rollout&)>& condition) {
  std::unique_lock lock(mutex_);
  errno = 0;
  if (!changed_.wait_for(lock, std::chrono::minutes(1), [&] { return any_ && condition(seen_); }))
    Die("waited a minute for a state of the rollout; it is: " + seen_.ShortDebugString());
  return seen_;
}

uint64_t ApiClient::Generation() {
  grpc::ClientContext context;
  v1::ListNodesResponse response;
  Require(stub_->ListNodes(&context, {}, &response), "ListNodes");
  return response.generation();
}

uint32_t ApiClient::NodesUpToDate() {
  grpc::ClientContext context;
  v1::ListNodesResponse response;
  Require(stub_->ListNodes(&context, {}, &response), "ListNodes");
  uint32_t count = 0;
  for (const auto& node : response.nodes())
    count += node.connected() && node.generation_acked() == response.generation() ? 1 : 0;
  return count;
}

std::string ServicesYaml(uint32_t first, uint32_t last, uint32_t per_service) {
  std::string text;
  for (uint32_t i = first; i < last; ++i) {
    fmt::format_to(std::back_inserter(text),
                   "---\napiVersion: v1\nkind: Service\nmetadata: {{name: service-{0}, namespace: bench}}\n"
                   "spec: {{clusterIP: {1}, ports: [{{name: http, port: {2}, protocol: TCP}}]}}\n",
                   i, AddressText(Vip(i)), kVipPort);
    for (uint32_t revision = 1; revision <= 2; ++revision) {
      const uint32_t begin = revision == 1 ? 1 : 0;
      const uint32_t end = revision == 1 ? per_service : 1;
      fmt::format_to(
          std::back_inserter(text),
          "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: service-{0}-v{1}\n"
          "  namespace: bench\n  labels: {{kubernetes.io/service-name: service-{0}, weir.dev/revision: "
          "v{1}}}\naddressType: IPv4\nports: [{{name: http, port: {2}, protocol: TCP}}]\nendpoints:\n",
          i, revision, Endpoint(i, begin, per_service).port);
      for (uint32_t j = begin; j < end; ++j) {
        fmt::format_to(std::back_inserter(text), "- {{addresses: [{}], conditions: {{ready: true}}}}\n",
                       AddressText(Endpoint(i, j, per_service)));
      }
    }
  }
  return text;
}

std::string RolloutYaml(const std::string& revision) {
  return fmt::format(
      "apiVersion: weir.dev/v1alpha1\nkind: Rollout\nmetadata: {{name: {}, namespace: {}}}\n"
      "spec:\n  service: {}\n  revision: {}\n  strategy:\n    canary:\n      steps:\n      - setWeight: 20\n"
      "      - pause: {{}}\n",
      kName, kNamespace, kName, revision);
}

}  // namespace weir::bench
