#include "agent/app/instance_lock.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

namespace weir::app {
namespace {

TEST(LockDirectory, OneHolderAtATime) {
  std::string path = (std::filesystem::temp_directory_path() / "weir-lock-XXXXXX").string();
  ASSERT_NE(::mkdtemp(path.data()), nullptr);
  {
    auto first = LockDirectory(path);
    ASSERT_TRUE(first.ok()) << first.status();
    const auto second = LockDirectory(path);
    ASSERT_FALSE(second.ok());
    EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_NE(Message(second.status()).find(path + ": another weir-agent is running"), std::string::npos);
  }
  EXPECT_TRUE(LockDirectory(path).ok());  // given up with the descriptor
  std::filesystem::remove(path);
  const auto missing = LockDirectory(path);
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound) << missing.status();
}

}  // namespace
}  // namespace weir::app
