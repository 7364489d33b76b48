#include "tests/kubernetes/harness/fixture.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <optional>

#include "tests/kernel/harness/sandbox.h"

namespace weir::kubernetes_test {
namespace {

/// The program's control plane, or why there is none.
struct Shared {
  std::unique_ptr<ControlPlane> plane;
  std::string missing, failed;
  bool tried = false;
};
Shared shared;

constexpr int kSkipped = 77;  // CTest's SKIP_RETURN_CODE

bool Required() {
  const char* value = std::getenv("WEIR_REQUIRE_KUBERNETES");
  return value != nullptr && std::string_view(value) != "0";
}

/// "ClientTest.RelistsAfter410" -> "relistsafter410", at most a DNS label.
std::string NamespaceOf(std::string name) {
  std::erase_if(name, [](unsigned char c) { return std::isalnum(c) == 0; });
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
  return name.substr(0, 63);
}

}  // namespace

void KubernetesTest::StartWith(const ControlPlaneOptions& options) {
  if (shared.tried) return;
  shared.tried = true;
  shared.missing = MissingReason();
  if (!shared.missing.empty()) return;
  auto plane = ControlPlane::Start(options);
  if (plane.ok()) {
    shared.plane = *std::move(plane);
  } else {
    shared.failed = Message(plane.status());
  }
}

ControlPlane& KubernetesTest::plane() { return *shared.plane; }

void KubernetesTest::SetUp() {
  if (!shared.missing.empty()) {
    if (Required()) FAIL() << shared.missing << " (WEIR_REQUIRE_KUBERNETES is set)";
    GTEST_SKIP() << shared.missing;
  }
  ASSERT_TRUE(shared.plane) << shared.failed;
  ns_ = NamespaceOf(::testing::UnitTest::GetInstance()->current_test_info()->name());
  plane().MustKubectl({"create", "namespace", ns_});
}

int RunKubernetesTests(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (GTEST_FLAG_GET(list_tests)) return RUN_ALL_TESTS();
  return kernel_test::RunInSandbox([] {
    const int code = RUN_ALL_TESTS();
    shared.plane.reset();
    if (code != 0) return code;
    return ::testing::UnitTest::GetInstance()->skipped_test_count() > 0 ? kSkipped : 0;
  });
}

}  // namespace weir::kubernetes_test
