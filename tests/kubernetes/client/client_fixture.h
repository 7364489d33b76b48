// A Client against the real API server, its io_context run by the test itself.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "controller/kubernetes/client/client.h"
#include "controller/kubernetes/client/reflector.h"
#include "tests/kubernetes/harness/fixture.h"

namespace weir::kubernetes_test {

using kubernetes::ApiRequest;
using kubernetes::Client;
using kubernetes::ObjectKey;
using kubernetes::Resource;
using kubernetes::Response;
namespace json = boost::json;

inline const Resource kConfigMaps{"", "v1", "configmaps"};
inline const Resource kSecrets{"", "v1", "secrets"};  // without a watch cache: ControlPlaneOptions::uncached

inline json::object ConfigMap(const std::string& name, const std::string& value = "") {
  return {{"apiVersion", "v1"},
          {"kind", "ConfigMap"},
          {"metadata", {{"name", name}}},
          {"data", {{"value", value}}}};
}

class ClientFixture : public KubernetesTest {
 protected:
  static void SetUpTestSuite() { StartWith({}); }
  void SetUp() override {
    KubernetesTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    client_ = Connect(plane().admin_kubeconfig());
  }

  std::unique_ptr<Client> Connect(const std::string& kubeconfig) {
    auto access = kubernetes::FromKubeconfig(kubeconfig);
    EXPECT_TRUE(access.ok()) << access.status();
    auto client = Client::Create(context_, *access);
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }

  /// Runs the io_context until it holds; false after half a minute.
  bool RunUntil(const std::function<bool()>& holds, std::chrono::seconds within = std::chrono::seconds(30)) {
    const auto deadline = std::chrono::steady_clock::now() + within;
    context_.restart();
    while (!holds()) {
      const auto left = deadline - std::chrono::steady_clock::now();
      if (left <= std::chrono::seconds(0)) return false;
      // Bounded: what another thread or process does makes no event here.
      context_.run_one_for(
          std::min<std::chrono::steady_clock::duration>(left, std::chrono::milliseconds(50)));
      context_.restart();
    }
    return true;
  }

  Result<Response> Ask(Client& client, ApiRequest request) {
    std::optional<Result<Response>> answer;
    client.Send(std::move(request), [&](Result<Response> got) { answer = std::move(got); });
    if (!RunUntil([&] { return answer.has_value(); }))
      return Error(absl::StatusCode::kDeadlineExceeded, "no answer at all");
    return *std::move(answer);
  }
  Result<Response> Ask(ApiRequest request) { return Ask(*client_, std::move(request)); }

  void MakeConfigMap(const std::string& name, const std::string& value = "") {
    const auto made = Ask(kubernetes::CreateRequest(kConfigMaps, ns(), ConfigMap(name, value)));
    ASSERT_TRUE(made.ok()) << made.status();
  }

  boost::asio::io_context context_;
  std::unique_ptr<Client> client_;
};

}  // namespace weir::kubernetes_test
