#include "common/tls_flags.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

HostPort Address(const char* text) { return *ParseHostPort("--listen", text); }

TEST(TlsRule, PlaintextStaysOnTheHost) {
  const TlsFlags none;
  const TlsFlags insecure{.insecure = true};
  const TlsFlags pair{.cert = "c", .key = "k"};
  const TlsFlags ca{.ca = "a"};
  const struct {
    const char* address;
    TlsFlags flags;
    bool listen, dial;
  } rows[] = {
      {"127.0.0.1:1", none, true, true},    {"127.9.9.9:1", none, true, true},
      {"[::1]:1", none, true, true},        {"localhost:1", none, true, true},
      {"unix:/x", none, true, true},        {"0.0.0.0:1", none, false, false},
      {"[::]:1", none, false, false},       {"10.0.0.1:1", none, false, false},
      {"controller:1", none, false, false}, {"0.0.0.0:1", insecure, true, true},
      {"0.0.0.0:1", pair, true, true},      {"10.0.0.1:1", ca, false, true},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(CheckListener("--listen", Address(row.address), row.flags).ok(), row.listen) << row.address;
    EXPECT_EQ(CheckDial("--controller", Address(row.address), row.flags).ok(), row.dial) << row.address;
  }
}

TEST(TlsRule, ErrorsNameFlagAddressAndRemedy) {
  const std::string listen = Message(CheckListener("--http", Address("0.0.0.0:80"), {}));
  EXPECT_TRUE(listen.starts_with("--http 0.0.0.0:80: ")) << listen;
  EXPECT_NE(listen.find("--tls-cert and --tls-key, or --insecure"), std::string::npos) << listen;
  const std::string dial = Message(CheckDial("--controller", Address("c:80"), {}));
  EXPECT_TRUE(dial.starts_with("--controller c:80: ")) << dial;
  EXPECT_NE(dial.find("--tls-ca"), std::string::npos) << dial;
}

TEST(TlsFlags, HalfAPairIsRefused) {
  EXPECT_EQ(Message(CheckTlsFlags({.cert = "c.pem"}, false)),
            "--tls-cert c.pem without --tls-key: give the file with its private key");
  EXPECT_EQ(Message(CheckTlsFlags({.key = "k.pem"}, true)),
            "--tls-key k.pem without --tls-cert: give the file with its certificate");
  EXPECT_TRUE(CheckTlsFlags({.ca = "a.pem"}, false).ok());
  EXPECT_FALSE(CheckTlsFlags({.ca = "a.pem"}, true).ok());
  EXPECT_TRUE(CheckTlsFlags({.cert = "c", .key = "k", .ca = "a"}, true).ok());
}

}  // namespace
}  // namespace weir
