// Times that several CPUs read and write.
#include "bpf/lib/elapsed.h"

#include <gtest/gtest.h>

namespace weir::testing {
namespace {

TEST(ElapsedTest, OnlyAfterTheLimit) {
  EXPECT_FALSE(weir_elapsed(1000, 1000, 10));
  EXPECT_FALSE(weir_elapsed(1009, 1000, 10));
  EXPECT_TRUE(weir_elapsed(1010, 1000, 10));
  EXPECT_TRUE(weir_elapsed(1ULL << 62, 1000, 10));
}

// A connect() that read its clock, and then an entry which another CPU has used since: affinity was lost, and
// a node with a canary took itself for cut off.
TEST(ElapsedTest, WhatWasSetMeanwhileIsNotLongAgo) {
  EXPECT_FALSE(weir_elapsed(1000, 1001, 10));
  EXPECT_FALSE(weir_elapsed(1000, 1000 + 5'000'000'000ULL, 10));
}

}  // namespace
}  // namespace weir::testing
