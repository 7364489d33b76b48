#include "tests/integration/cli/cli_fixture.h"

namespace weir::cli {
namespace {

using LintTest = CliTest;

constexpr char kService[] = R"(apiVersion: v1
kind: Service
metadata: {name: checkout, namespace: shop}
spec: {clusterIP: 127.96.0.1, ports: [{name: http, port: 80, protocol: TCP}]}
)";

constexpr char kRollout[] = R"(---
apiVersion: weir.dev/v1alpha1
kind: Rollout
metadata: {name: checkout, namespace: shop}
spec:
  service: checkout
  revision: v1
  strategy:
    canary:
      steps:
      - setWeight: 20
      - pause: {duration: 10s}
)";

TEST_F(LintTest, GoodManifestsPassWithoutAController) {
  input_ = std::string(kService) + kRollout;
  const Output output = Run({"lint", "-f", "-", "--server", "127.0.0.1:1"});
  EXPECT_EQ(output.code, 0) << output.err;
  EXPECT_EQ(output.out, "2 objects in 1 file: no errors\n");
}

TEST_F(LintTest, MistakesInAManifestNameFileAndLine) {
  input_ = std::string(kService) + "spec2: {}\n";
  const Output output = Run({"lint", "-f", "-"});
  EXPECT_EQ(output.code, 1);
  EXPECT_EQ(output.out, "");
  EXPECT_NE(output.err.find("standard input:"), std::string::npos) << output.err;
  EXPECT_NE(output.err.find("spec2"), std::string::npos) << output.err;
}

TEST_F(LintTest, MistakesBetweenManifestsAreFound) {
  input_ = kRollout;
  const Output output = Run({"lint", "-f", "-"});
  EXPECT_EQ(output.code, 1);
  EXPECT_NE(output.err.find("checkout"), std::string::npos) << output.err;
}

}  // namespace
}  // namespace weir::cli
