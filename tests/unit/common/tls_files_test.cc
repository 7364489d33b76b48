// What is in force while the files change under it: a Secret as the kubelet swaps it, and everything that can
// be wrong with files for a while.
#include "common/tls_files.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <filesystem>

#include "common/metrics.h"
#include "common/tls_metrics.h"
#include "tests/unit/common/test_certs.h"

namespace weir {
namespace {

MountedSecret::Files Keys(const PemPair& pair, const std::string& ca) {
  return {{"tls.crt", pair.cert}, {"tls.key", pair.key}, {"ca.crt", ca}};
}

class TlsFilesTest : public testing::Test {
 protected:
  void SetUp() override {
    auto files = TlsFiles::Open(flags_, true);
    ASSERT_TRUE(files.ok()) << files.status();
    files_ = *std::move(files);
  }
  std::string CertInForce() const { return files_->contents()->pem.cert; }
  std::string Metrics() const {
    TlsMetrics metrics(files_), of_nobody(nullptr);
    return MetricsText({&of_nobody, &metrics});
  }

  const TestCa ca_, next_ca_;
  const PemPair first_ = ca_.Issue("first"), second_ = ca_.Issue("second");
  MountedSecret secret_{Keys(first_, ca_.pem())};
  const TlsFlags flags_{
      .cert = secret_.Path("tls.crt"), .key = secret_.Path("tls.key"), .ca = secret_.Path("ca.crt")};
  std::shared_ptr<TlsFiles> files_;
};

TEST_F(TlsFilesTest, ASwappedSecretIsTakenWhole) {
  const auto before = files_->contents();
  EXPECT_EQ(*files_->Look(), false);
  EXPECT_EQ(files_->contents(), before) << "the same object: nobody makes anything anew";

  secret_.Put(Keys(second_, ca_.pem() + next_ca_.pem()));
  EXPECT_EQ(*files_->Look(), true);
  EXPECT_EQ(CertInForce(), second_.cert);
  EXPECT_EQ(files_->contents()->pem.key, second_.key);
  EXPECT_EQ(files_->contents()->pem.ca, ca_.pem() + next_ca_.pem());
  EXPECT_EQ(before->pem.cert, first_.cert) << "who holds it goes on with it";
  EXPECT_EQ(*files_->Look(), false);
  EXPECT_EQ(files_->reloads(), 1u);
  EXPECT_EQ(files_->reload_errors(), 0u);
}

TEST_F(TlsFilesTest, ATimeStampThatStandsStillHidesNothing) {
  namespace fs = std::filesystem;
  const TempDir dir;
  const TlsFlags flags{.cert = dir.Write("c", first_.cert), .key = dir.Write("k", first_.key)};
  const auto files = TlsFiles::Open(flags, true);
  ASSERT_TRUE(files.ok());
  const auto stamp = fs::last_write_time(flags.cert);
  for (const auto& [path, text] : {std::pair{flags.cert, second_.cert}, {flags.key, second_.key}}) {
    dir.Write(fs::path(path).filename(), text);
    fs::last_write_time(path, stamp);
  }
  EXPECT_EQ(*(*files)->Look(), true);
  EXPECT_EQ((*files)->contents()->pem.cert, second_.cert);
}

TEST_F(TlsFilesTest, WhatCannotBeUsedLeavesInForceWhatIs) {
  const auto half = [](const std::string& text) { return text.substr(0, text.size() / 2); };
  const std::string two = second_.cert + ca_.pem();
  const struct {
    const char* what;
    MountedSecret::Files files;
    std::string message;
  } rows[] = {
      {"half a certificate", Keys({half(second_.cert), second_.key}, ca_.pem()),
       "no certificate in PEM form"},
      {"half a chain", Keys({two.substr(0, two.size() - 40), second_.key}, ca_.pem()),
       "certificate 2 is cut short"},
      {"half a key", Keys({second_.cert, half(second_.key)}, ca_.pem()), "no unencrypted private key"},
      {"half a CA", Keys(second_, half(ca_.pem())), "no certificate in PEM form"},
      {"half of a bundle's second", Keys(second_, ca_.pem() + half(next_ca_.pem())),
       "certificate 2 is cut short"},
      {"another's key", Keys({second_.cert, first_.key}, ca_.pem()), "does not match the certificate"},
      {"empty files", Keys({"", ""}, ""), "no certificate in PEM form"},
      {"a key that is not there", {{"tls.crt", second_.cert}, {"ca.crt", ca_.pem()}}, "cannot open"},
  };
  uint64_t errors = 0;
  for (const auto& row : rows) {
    secret_.Put(row.files);
    const Result<bool> looked = files_->Look();
    ASSERT_FALSE(looked.ok()) << row.what;
    EXPECT_NE(Message(looked.status()).find(row.message), std::string::npos)
        << row.what << ": " << looked.status();
    EXPECT_EQ(CertInForce(), first_.cert) << row.what;
    EXPECT_EQ(files_->contents()->pem.ca, ca_.pem()) << row.what;
    EXPECT_EQ(files_->reload_errors(), ++errors) << row.what;
  }
  EXPECT_FALSE(files_->Look().ok()) << "tried again, and counted";
  secret_.Put(Keys(second_, ca_.pem()));
  EXPECT_EQ(*files_->Look(), true);
  EXPECT_EQ(CertInForce(), second_.cert);
  EXPECT_EQ(files_->reload_errors(), errors + 1);
}

TEST_F(TlsFilesTest, TheStartIsStricter) {
  secret_.Put(Keys({second_.cert, first_.key}, ca_.pem()));
  EXPECT_NE(Message(TlsFiles::Open(flags_, true).status()).find("does not match"), std::string::npos);
  EXPECT_NE(Message(TlsFiles::Open({.cert = "/nowhere"}, false).status()).find("--tls-cert /nowhere without"),
            std::string::npos);
  EXPECT_NE(
      Message(TlsFiles::Open({.ca = "/nowhere"}, false).status()).find("--tls-ca /nowhere: cannot open"),
      std::string::npos);
  EXPECT_NE(Message(TlsFiles::Open({.ca = flags_.ca}, true).status()).find("--tls-ca"), std::string::npos);
  EXPECT_TRUE(TlsFiles::Open({.insecure = true}, true).ok());
}

TEST_F(TlsFilesTest, MetricsSayWhenItEnds) {
  const auto value = [&](const std::string& name) {
    const std::string text = "\n" + Metrics();
    const size_t at = text.find("\n" + name + " ");
    return at == std::string::npos ? -1.0 : std::stod(text.substr(at + name.size() + 2));
  };
  const std::string ends = "weir_tls_certificate_expiration_timestamp_seconds";
  const auto in = [](std::chrono::seconds time) {
    return static_cast<double>(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now() + time));
  };
  EXPECT_NEAR(value(ends + "{file=\"cert\"}"), in(std::chrono::hours(1)), 30);
  EXPECT_NEAR(value(ends + "{file=\"ca\"}"), in(std::chrono::hours(1)), 30);
  secret_.Put(Keys(ca_.Issue("short", std::chrono::minutes(5)), ca_.pem() + next_ca_.pem()));
  EXPECT_EQ(value("weir_tls_reloads_total"), 0);
  EXPECT_TRUE(files_->Look().ok());
  EXPECT_NEAR(value(ends + "{file=\"cert\"}"), in(std::chrono::minutes(5)), 30);
  EXPECT_EQ(value("weir_tls_reloads_total"), 1);
  secret_.Put({});
  EXPECT_FALSE(files_->Look().ok());
  EXPECT_EQ(value("weir_tls_reload_errors_total"), 1);

  TlsMetrics without_flags(*TlsFiles::Open({}, true));
  EXPECT_EQ(MetricsText({&without_flags}), "");
}

TEST_F(TlsFilesTest, TheWatchLooksUntilItIsStopped) {
  boost::asio::io_context context;
  TlsWatch watch(context, files_, std::chrono::milliseconds(1));
  secret_.Put(Keys({second_.cert, first_.key}, ca_.pem()));
  while (files_->reload_errors() < 3) context.run_one();
  secret_.Put(Keys(second_, ca_.pem()));
  while (files_->reloads() == 0) context.run_one();
  EXPECT_EQ(CertInForce(), second_.cert);
  watch.Stop();
  context.run();  // returns: nothing is left to do

  boost::asio::io_context idle;
  const TlsWatch nothing(idle, *TlsFiles::Open({.insecure = true}, true));
  EXPECT_EQ(idle.run(), 0u) << "no file, no timer";
}

}  // namespace
}  // namespace weir
