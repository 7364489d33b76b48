// Many manifests at once: who reads them must not keep others waiting.
#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <future>

#include "tests/integration/controller/controller_fixture.h"

namespace weir::testing {
namespace {

using Clock = std::chrono::steady_clock;

std::string ManyServices(int count) {
  std::string yaml;
  for (int i = 0; i < count; ++i) {
    yaml += fmt::format(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: s{}, namespace: shop}}\n"
        "spec: {{clusterIP: 127.96.{}.{}, ports: [{{name: http, port: 80, protocol: TCP}}]}}\n---\n",
        i, i / 250, i % 250 + 1);
  }
  return yaml;
}

TEST(Apply, ReadingThousandsOfManifestsKeepsNobodyWaiting) {
  std::string directory = ::testing::TempDir() + "/weir-apply-XXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  {
    Controller controller(directory);
    ASSERT_TRUE(controller.listening());
    Client others(Dial(controller.port()));
    v1::GetVersionResponse version;
    ASSERT_TRUE(others.Call(&v1::WeirService::Stub::GetVersion, v1::GetVersionRequest(), &version).ok());

    // The last one is not well formed, so all the time is taken by reading: nothing is changed or stored.
    const std::string yaml = ManyServices(8000) + "kind: Service\n";
    const auto stub = v1::WeirService::NewStub(Dial(controller.port()));
    const Clock::time_point begin = Clock::now();
    auto apply = std::async(std::launch::async, [&] {
      grpc::ClientContext context;
      context.set_wait_for_ready(true);
      v1::ApplyRequest request;
      v1::ApplyResponse response;
      request.add_files()->set_yaml(yaml);
      return stub->Apply(&context, request, &response);
    });
    Clock::duration longest{};
    while (apply.wait_for(1ms) != std::future_status::ready) {
      const Clock::time_point asked = Clock::now();
      ASSERT_TRUE(others.Call(&v1::WeirService::Stub::GetVersion, v1::GetVersionRequest(), &version).ok());
      longest = std::max(longest, Clock::now() - asked);
    }
    const Clock::duration all = Clock::now() - begin;
    EXPECT_EQ(apply.get().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_LT(longest, all / 2) << "of " << all / 1ms << " ms";
  }
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace weir::testing
