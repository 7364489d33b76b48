#include "common/address.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

struct Good {
  const char* text;
  HostPort want;
  const char* printed;
  bool loopback;
};

TEST(ParseHostPort, Accepts) {
  const Good rows[] = {
      {"127.0.0.1:7400", {"127.0.0.1", 7400}, "127.0.0.1:7400", true},
      {"127.255.1.2:0", {"127.255.1.2", 0}, "127.255.1.2:0", true},
      {"[::1]:65535", {"::1", 65535}, "[::1]:65535", true},
      {"[::ffff:127.0.0.1]:1", {"::ffff:127.0.0.1", 1}, "[::ffff:127.0.0.1]:1", true},
      {"localhost:7401", {"localhost", 7401}, "localhost:7401", true},
      {"unix:/run/weir.sock", {"/run/weir.sock", 0, true}, "unix:/run/weir.sock", true},
      {"unix:///run/weir.sock", {"/run/weir.sock", 0, true}, "unix:/run/weir.sock", true},
      {"0.0.0.0:80", {"0.0.0.0", 80}, "0.0.0.0:80", false},
      {"[::]:80", {"::", 80}, "[::]:80", false},
      {"10.0.0.1:80", {"10.0.0.1", 80}, "10.0.0.1:80", false},
      {"weir-controller.weir-system:7400",
       {"weir-controller.weir-system", 7400},
       "weir-controller.weir-system:7400",
       false},
      {"dns:///controller:7400", {"controller", 7400}, "controller:7400", false},
      {"localhost.example.com:1", {"localhost.example.com", 1}, "localhost.example.com:1", false},
  };
  for (const Good& row : rows) {
    const auto parsed = ParseHostPort("--listen", row.text);
    ASSERT_TRUE(parsed.ok()) << row.text << ": " << parsed.status();
    EXPECT_EQ(parsed->host, row.want.host) << row.text;
    EXPECT_EQ(parsed->port, row.want.port) << row.text;
    EXPECT_EQ(parsed->unix_socket, row.want.unix_socket) << row.text;
    EXPECT_EQ(parsed->ToString(), row.printed);
    EXPECT_EQ(parsed->is_loopback(), row.loopback) << row.text;
  }
}

TEST(ParseHostPort, RefusesWithFlagTextAndReason) {
  const struct {
    const char* text;
    const char* reason;
  } rows[] = {
      {"", "no port"},
      {"127.0.0.1", "no port"},
      {":80", "no host"},
      {"127.0.0.1:", "port is not a number"},
      {"127.0.0.1:65536", "port is not a number"},
      {"127.0.0.1:-1", "port is not a number"},
      {"127.0.0.1:8o", "port is not a number"},
      {"127.0.0.1:+80", "port is not a number"},
      {"::1:80", "needs []"},
      {"[::1:80", "no ]"},
      {"[127.0.0.1]:80", "no IPv6 address"},
      {"[]:80", "no IPv6 address"},
      {"http://a:80", "needs []"},
      {"a b:80", "not a host name"},
      {"unix:", "no path"},
  };
  for (const auto& row : rows) {
    const auto parsed = ParseHostPort("--listen", row.text);
    ASSERT_FALSE(parsed.ok()) << row.text;
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
    const std::string message = Message(parsed.status());
    EXPECT_TRUE(message.starts_with("--listen \"" + std::string(row.text) + "\"")) << message;
    EXPECT_NE(message.find(row.reason), std::string::npos) << message;
  }
}

}  // namespace
}  // namespace weir
