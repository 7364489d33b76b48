// What tests against a real API server start from: one control plane for the program, a namespace for each
// test.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/kubernetes/harness/control_plane.h"

namespace weir::kubernetes_test {

/// Skipped, with the reason, where no control plane can run; with WEIR_REQUIRE_KUBERNETES=1 that is a
/// failure.
class KubernetesTest : public ::testing::Test {
 protected:
  /// The first of a program's suites decides what is started.
  static void StartWith(const ControlPlaneOptions& options);
  static void SetUpTestSuite() { StartWith({}); }

  /// Makes the namespace, named after the test.
  void SetUp() override;

  static ControlPlane& plane();
  const std::string& ns() const { return ns_; }

 private:
  std::string ns_;
};

/// RUN_ALL_TESTS() in a sandbox, and the control plane taken down; for main().
int RunKubernetesTests(int argc, char** argv);

}  // namespace weir::kubernetes_test
