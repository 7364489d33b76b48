// The main of every kernel test program: gtest inside the sandbox. Exit code 77 (CTest: skipped) when tests
// were skipped and none failed; with WEIR_REQUIRE_KERNEL set, a skipped test is a failure.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "tests/kernel/harness/sandbox.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (GTEST_FLAG_GET(list_tests)) return RUN_ALL_TESTS();
  return weir::kernel_test::RunInSandbox([] {
    const int code = RUN_ALL_TESTS();
    if (code != 0) return code;
    if (testing::UnitTest::GetInstance()->skipped_test_count() == 0) return 0;
    if (std::getenv("WEIR_REQUIRE_KERNEL") != nullptr) {
      std::cerr << "WEIR_REQUIRE_KERNEL is set: a skipped kernel test is a failure\n";
      return 1;
    }
    return 77;
  });
}
