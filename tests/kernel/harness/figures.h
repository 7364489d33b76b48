// Reading the datapath's figures in tests.
#pragma once

#include <string>

#include "tests/kernel/harness/node.h"

namespace weir::kernel_test {

/// The frontend with a namespace and a service that its figures go by.
datapath::Frontend Named(datapath::Frontend frontend, const std::string& service = "checkout");

/// The series of that revision in namespace "shop"; fails the test, and is empty, where there is none.
datapath::Series ReadSeries(TestNode& node, const std::string& service, const std::string& revision);
/// Whether there is such a series.
bool HasSeries(TestNode& node, const std::string& service, const std::string& revision);

/// How many connections failed for that reason.
uint64_t Failed(const datapath::Series& series, const std::string& reason);
/// For any reason.
uint64_t Failed(const datapath::Series& series);

}  // namespace weir::kernel_test
