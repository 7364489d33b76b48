#include "common/net.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

TEST(IpAddress, ParsesAndPrints) {
  const struct {
    const char* in;
    const char* out;
    AddressFamily family;
    bool loopback, unspecified, multicast;
  } rows[] = {
      {"127.96.0.1", "127.96.0.1", AddressFamily::kIPv4, true, false, false},
      {"0.0.0.0", "0.0.0.0", AddressFamily::kIPv4, false, true, false},
      {"224.0.0.1", "224.0.0.1", AddressFamily::kIPv4, false, false, true},
      {"::ffff:10.0.0.1", "10.0.0.1", AddressFamily::kIPv4, false, false, false},
      {"::1", "::1", AddressFamily::kIPv6, true, false, false},
      {"::", "::", AddressFamily::kIPv6, false, true, false},
      {"::2", "::2", AddressFamily::kIPv6, false, false, false},
      {"fd00:0::1", "fd00::1", AddressFamily::kIPv6, false, false, false},
      {"ff02::1", "ff02::1", AddressFamily::kIPv6, false, false, true},
  };
  for (const auto& row : rows) {
    const auto address = IpAddress::Parse(row.in);
    ASSERT_TRUE(address) << row.in;
    EXPECT_EQ(address->ToString(), row.out);
    EXPECT_EQ(address->family(), row.family) << row.in;
    EXPECT_EQ(address->is_loopback(), row.loopback) << row.in;
    EXPECT_EQ(address->is_unspecified(), row.unspecified) << row.in;
    EXPECT_EQ(address->is_multicast(), row.multicast) << row.in;
    EXPECT_EQ(IpAddress::FromBytes(address->ToBytes()), address) << row.in;
  }
}

TEST(IpAddress, RefusesWhatIsNoAddress) {
  for (const char* text :
       {"", "127.0.0.1:80", "127.1", "256.0.0.1", "01.2.3.4", "fe80::1%eth0", "[::1]", " ::1"}) {
    EXPECT_FALSE(IpAddress::Parse(text)) << text;
  }
  EXPECT_FALSE(IpAddress::Parse(std::string_view("127.0.0.1\0x", 11)));
  for (const size_t length : {0, 3, 5, 15, 17}) EXPECT_FALSE(IpAddress::FromBytes(std::string(length, 'x')));
}

TEST(SocketAddress, Prints) {
  EXPECT_EQ(ToString(SocketAddress{*IpAddress::Parse("127.0.0.1"), 80}), "127.0.0.1:80");
  EXPECT_EQ(ToString(SocketAddress{*IpAddress::Parse("fd00::1"), 80}), "[fd00::1]:80");
}

}  // namespace
}  // namespace weir
