#include "controller/kubernetes/client/access.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tests/unit/common/test_certs.h"

namespace weir::kubernetes {
namespace {

using absl::StatusCode;

constexpr std::string_view kConfig = R"(apiVersion: v1
kind: Config
current-context: a
clusters:
- name: c
  cluster: {server: "https://10.0.0.1:6443/k8s", certificate-authority: ca.crt, tls-server-name: api.example}
- name: local
  cluster: {server: "http://127.0.0.1:8001"}
contexts:
- name: a
  context: {cluster: c, user: u, namespace: shop}
- name: proxied
  context: {cluster: local, user: ""}
users:
- name: u
  user: USER
)";

class AccessTest : public ::testing::Test {
 protected:
  std::string Config(const std::string& user, const std::string& from = "", const std::string& to = "") {
    std::string text(kConfig);
    text.replace(text.find("USER"), 4, user);
    if (!from.empty()) text.replace(text.find(from), from.size(), to);
    return files_.Write("config", text);
  }
  /// Its error, which must name the file.
  std::string Refused(const std::string& path, const std::string& context = "") {
    const auto access = FromKubeconfig(path, context);
    EXPECT_EQ(access.status().code(), StatusCode::kInvalidArgument) << access.status();
    EXPECT_TRUE(Message(access.status()).starts_with(path + ":")) << access.status();
    return Message(access.status());
  }

  const TempDir files_;
  FakeClock clock_;
};

TEST_F(AccessTest, KubeconfigWithFilesBesideIt) {
  files_.Write("ca.crt", "CA");
  files_.Write("u.crt", "CERT");
  files_.Write("u.key", "KEY");
  const auto access = FromKubeconfig(Config("{client-certificate: u.crt, client-key: ./u.key}"));
  ASSERT_TRUE(access.ok()) << access.status();
  EXPECT_EQ(access->server.host, "10.0.0.1");
  EXPECT_EQ(access->server.port, 6443);
  EXPECT_EQ(access->server.target, "/k8s");
  EXPECT_EQ(access->tls_server_name, "api.example");
  EXPECT_EQ(access->ca_pem, "CA");
  EXPECT_EQ(access->client_cert_pem, "CERT");
  EXPECT_EQ(access->client_key_pem, "KEY");
  EXPECT_EQ(access->ns, "shop");
  EXPECT_FALSE(access->insecure);
}

TEST_F(AccessTest, DataGoesBeforeFilesAndTokenFilesBeforeTokens) {
  files_.Write("ca.crt", "CA");
  // "CERT" and "KEY"; a file that is not there is not looked for.
  const auto access =
      FromKubeconfig(Config("{client-certificate: gone, client-certificate-data: Q0VSVA==, client-key-data: "
                            "S0VZ, token: t, tokenFile: token}"));
  ASSERT_TRUE(access.ok()) << access.status();
  EXPECT_EQ(access->client_cert_pem, "CERT");
  EXPECT_EQ(access->client_key_pem, "KEY");
  EXPECT_EQ(access->token_file, files_.path() + "/token");
  TokenSource tokens(*access, clock_);
  EXPECT_EQ(*tokens.Get(), "t");  // until its file is there
}

TEST_F(AccessTest, AnotherContextAndNoUser) {
  const auto access = FromKubeconfig(Config("{}"), "proxied");
  ASSERT_TRUE(access.ok()) << access.status();
  EXPECT_FALSE(access->server.https);
  EXPECT_EQ(access->ns, "default");
  EXPECT_EQ(access->token, "");
}

TEST_F(AccessTest, WhatIsRefusedIsNamedWithTheRemedy) {
  files_.Write("ca.crt", "CA");
  const struct {
    std::string user, field, remedy;
  } cases[] = {
      {"{exec: {command: aws}}", "users[0].user.exec", "kubectl create token"},
      {"{auth-provider: {name: gcp}}", "users[0].user.auth-provider", "kubectl create token"},
      {"{username: a, password: b}", "users[0].user.username", "client certificate"},
      {"{as: admin}", "users[0].user.as", "credentials of the user"},
      {"{client-certificate-data: Q0VSVA==}", "users[0].user", "both or neither"},
      {"{client-certificate-data: '*', client-key-data: S0VZ}", "client-certificate-data", "base64"},
      {"{client-certificate: gone.crt, client-key-data: S0VZ}", "client-certificate", "gone.crt"},
      {"{token: \"a b\"}", "users[0].user.token", "one word"},
      {"{tokn: a}", "users[0].user.tokn", "did you mean token?"},
  };
  for (const auto& refused : cases) {
    const std::string error = Refused(Config(refused.user));
    EXPECT_NE(error.find(refused.field), std::string::npos) << error;
    EXPECT_NE(error.find(refused.remedy), std::string::npos) << error;
  }
  EXPECT_EQ(Refused(Config("{token: \"se cret\"}")).find("se cret"), std::string::npos);
}

TEST_F(AccessTest, WhatIsNotThereIsNamedWithWhatIs) {
  files_.Write("ca.crt", "CA");
  EXPECT_NE(Refused(Config("{}"), "b").find("found no context \"b\", expected one of a, proxied"),
            std::string::npos);
  EXPECT_NE(Refused(Config("{}", "user: u,", "user: x,")).find("found no user \"x\", expected one of u"),
            std::string::npos);
  EXPECT_NE(Refused(Config("{}", "current-context: a\n", "")).find("kubectl config use-context"),
            std::string::npos);
  EXPECT_EQ(FromKubeconfig(files_.path() + "/none").status().code(), StatusCode::kNotFound);
  EXPECT_FALSE(FromKubeconfig(files_.Write("empty", "")).ok());
  EXPECT_FALSE(FromKubeconfig(files_.Write("list", "- a\n")).ok());
  EXPECT_FALSE(FromKubeconfig(files_.Write("broken", "a: [")).ok());
}

TEST_F(AccessTest, PlainTextStaysOnTheHost) {
  const std::string error = Refused(Config("{}", "http://127.0.0.1:8001", "http://10.0.0.1:8001"), "proxied");
  EXPECT_NE(error.find("https"), std::string::npos) << error;
}

class InClusterTest : public AccessTest {
 protected:
  InClusterFiles Files() { return {.folder = files_.path(), .host = "10.96.0.1", .port = "443"}; }
};

TEST_F(InClusterTest, AServiceAccount) {
  files_.Write("token", "t1\n");
  files_.Write("ca.crt", "CA");
  files_.Write("namespace", "weir-system");
  const auto access = InCluster(Files());
  ASSERT_TRUE(access.ok()) << access.status();
  EXPECT_TRUE(access->server.https);
  EXPECT_EQ(access->server.authority(), "10.96.0.1");
  EXPECT_EQ(access->ca_pem, "CA");
  EXPECT_EQ(access->ns, "weir-system");
  TokenSource tokens(*access, clock_);
  EXPECT_EQ(*tokens.Get(), "t1");
}

TEST_F(InClusterTest, WhatIsMissingIsNamed) {
  InClusterFiles files = Files();
  EXPECT_NE(Message(InCluster(files).status()).find("ca.crt"), std::string::npos);
  files_.Write("ca.crt", "CA");
  EXPECT_NE(Message(InCluster(files).status()).find("automountServiceAccountToken"), std::string::npos);
  files_.Write("token", "t");
  EXPECT_TRUE(InCluster(files).ok());
  files.port = "https";
  EXPECT_EQ(InCluster(files).status().code(), StatusCode::kInvalidArgument);
  files.host = "";
  EXPECT_EQ(InCluster(files).status().code(), StatusCode::kFailedPrecondition);
}

TEST_F(InClusterTest, TheTokenIsReadAgainOnceAMinuteAndAfterARefusal) {
  files_.Write("ca.crt", "CA");
  files_.Write("token", "t1");
  const auto access = InCluster(Files());
  ASSERT_TRUE(access.ok());
  TokenSource tokens(*access, clock_);
  EXPECT_EQ(*tokens.Get(), "t1");
  files_.Write("token", "t2");
  clock_.Advance(std::chrono::seconds(59));
  EXPECT_EQ(*tokens.Get(), "t1");
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_EQ(*tokens.Get(), "t2");
  EXPECT_FALSE(tokens.Refused("t2"));  // nothing newer: no use in asking again
  EXPECT_TRUE(tokens.Refused("t1"));   // that was sent before t2 was read
  files_.Write("token", "t3");
  EXPECT_TRUE(tokens.Refused("t2"));
  EXPECT_EQ(*tokens.Get(), "t3");
}

TEST_F(InClusterTest, ATokenThatCannotBeReadAgainStaysInUse) {
  files_.Write("ca.crt", "CA");
  files_.Write("token", "t1");
  const auto access = InCluster(Files());
  TokenSource tokens(*access, clock_);
  EXPECT_EQ(*tokens.Get(), "t1");
  for (const std::string text : {"", "two words"}) {
    files_.Write("token", text);
    clock_.Advance(std::chrono::minutes(2));
    EXPECT_EQ(*tokens.Get(), "t1");
  }
  std::filesystem::remove(access->token_file);
  clock_.Advance(std::chrono::minutes(2));
  EXPECT_EQ(*tokens.Get(), "t1");
  TokenSource fresh(*access, clock_);
  EXPECT_EQ(fresh.Get().status().code(), StatusCode::kNotFound);
  files_.Write("token", "t2");
  EXPECT_EQ(*fresh.Get(), "t2");  // an error is not kept for a minute
}

}  // namespace
}  // namespace weir::kubernetes
