// URLs as a client needs them.
#include "common/url.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

TEST(Url, Parts) {
  const struct {
    std::string_view text, host;
    uint16_t port;
    std::string_view target, authority;
    bool https;
  } kCases[] = {
      {"http://prometheus:9090", "prometheus", 9090, "/", "prometheus:9090", false},
      {"http://p", "p", 80, "/", "p", false},
      {"https://p/", "p", 443, "/", "p", true},
      {"https://p:443/a/b?c=d#e", "p", 443, "/a/b?c=d", "p", true},
      {"http://p?x=1", "p", 80, "/?x=1", "p", false},
      {"http://[::1]:9090/x", "::1", 9090, "/x", "[::1]:9090", false},
      {"http://127.0.0.1:443/", "127.0.0.1", 443, "/", "127.0.0.1:443", false},
  };
  for (const auto& c : kCases) {
    const auto url = ParseUrl(c.text);
    ASSERT_TRUE(url.ok()) << c.text << url.status();
    EXPECT_EQ(url->host, c.host);
    EXPECT_EQ(url->port, c.port);
    EXPECT_EQ(url->target, c.target);
    EXPECT_EQ(url->authority(), c.authority);
    EXPECT_EQ(url->https, c.https);
  }
}

TEST(Url, WhatIsNone) {
  for (const std::string_view text : {"", "p", "ftp://p", "http://", "http:///x", "http://p:0",
                                      "http://p:65536", "http://p:", "http://p:80x", "http://u:p@host",
                                      "http://a b", "http://[::1", "http://[::1]x", "http://p/\r\nHost: x"})
    EXPECT_FALSE(ParseUrl(text).ok()) << text;
}

TEST(Url, EncodesWhatIsNotPlain) {
  EXPECT_EQ(EncodeQuery("a-b_c.d~9"), "a-b_c.d~9");
  EXPECT_EQ(EncodeQuery("up{a=\"b\"} + 1&c\n\xc3\xa9"), "up%7Ba%3D%22b%22%7D%20%2B%201%26c%0A%C3%A9");
}

}  // namespace
}  // namespace weir
