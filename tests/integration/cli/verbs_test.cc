#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/integration/cli/cli_fixture.h"

namespace weir::cli {
namespace {

namespace fs = std::filesystem;

using VerbsTest = CliTest;

/// A directory of the test's own.
class ApplyTest : public CliTest {
 protected:
  ApplyTest() : directory_(fs::temp_directory_path() / ("weirctl-test-" + std::to_string(getpid()))) {
    fs::create_directory(directory_);
  }
  ~ApplyTest() override { fs::remove_all(directory_); }

  std::string Write(const std::string& name, const std::string& text) {
    std::ofstream(directory_ / name) << text;
    return directory_ / name;
  }

  const fs::path directory_;
};

TEST_F(VerbsTest, EachVerbReachesItsCallAndReportsTheRollout) {
  FakeWeirService service;
  UseServer(service);
  service.rollouts = {PausedCheckout()};
  const struct {
    const char* verb;
    const char* call;
    const char* done;
  } cases[] = {{"abort", "Abort", "aborted"},
               {"retry", "Retry", "started again"},
               {"pause", "Pause", "paused"},
               {"resume", "Resume", "resumed"}};
  for (const auto& c : cases) {
    const Output output = Run({c.verb, "checkout", "-n", "shop"});
    EXPECT_EQ(output.code, 0) << output.err;
    EXPECT_EQ(service.verb, std::string(c.call) + " shop/checkout");
    EXPECT_EQ(output.out,
              std::string("rollout shop/checkout ") + c.done + ": Paused, step 1/4 (pause), v2 at 20%\n");
  }
}

TEST_F(VerbsTest, PromoteSetWeightUndoCarryTheirArguments) {
  FakeWeirService service;
  UseServer(service);
  service.rollouts = {PausedCheckout()};
  EXPECT_EQ(Run({"promote", "checkout", "-n", "shop"}).code, 0);
  EXPECT_FALSE(service.promoted.full());
  EXPECT_EQ(Run({"promote", "checkout", "--full", "-n", "shop"}).code, 0);
  EXPECT_TRUE(service.promoted.full());
  EXPECT_EQ(Run({"set-weight", "checkout", "35", "-n", "shop"}).code, 0);
  EXPECT_EQ(service.weighted.weight(), 35U);
  EXPECT_EQ(Run({"undo", "checkout", "-n", "shop"}).code, 0);
  EXPECT_EQ(service.undone.to_revision(), "");
  EXPECT_EQ(Run({"undo", "checkout", "--to-revision", "v0", "-n", "shop"}).code, 0);
  EXPECT_EQ(service.undone.to_revision(), "v0");
}

TEST_F(VerbsTest, WeightsThatAreNoneAreRefusedBeforeACall) {
  FakeWeirService service;
  UseServer(service);
  service.rollouts = {PausedCheckout()};
  for (const char* weight : {"-1", "20%", "1.5", "", "99999999999"}) {
    const Output output = Run({"set-weight", "checkout", weight, "-n", "shop"});
    EXPECT_EQ(output.code, 1) << weight;
    EXPECT_NE(output.err, "") << weight;
  }
  EXPECT_EQ(service.weighted.name(), "");
}

TEST_F(VerbsTest, RefusalOfTheControllerIsShown) {
  FakeWeirService service;
  UseServer(service);
  service.rollouts = {PausedCheckout()};
  service.failure = {grpc::StatusCode::FAILED_PRECONDITION,
                     "rollout shop/checkout: nothing to abort: it is Healthy"};
  const Output output = Run({"abort", "checkout", "-n", "shop"});
  EXPECT_EQ(output.code, 1);
  EXPECT_EQ(output.out, "");
  EXPECT_EQ(output.err, "weirctl: rollout shop/checkout: nothing to abort: it is Healthy\n");
}

TEST_F(VerbsTest, OutOfReachNamesAddressAndRemedy) {
  std::string address;
  {
    const FakeWeirService gone;  // a port nobody listens on any more
    address = gone.address();
  }
  const Output output = Run({"abort", "checkout", "--server", address});
  EXPECT_EQ(output.code, 1);
  EXPECT_NE(output.err.find("no controller answers at " + address), std::string::npos) << output.err;
  EXPECT_NE(output.err.find("--server or WEIR_SERVER"), std::string::npos) << output.err;
}

TEST_F(VerbsTest, PlaintextStaysOnTheHost) {
  const Output output = Run({"abort", "checkout", "--server", "controller.example:7400"});
  EXPECT_EQ(output.code, 1);
  EXPECT_NE(output.err.find("refusing to dial off loopback in plaintext"), std::string::npos) << output.err;
}

TEST_F(VerbsTest, VersionOfBoth) {
  FakeWeirService service;
  UseServer(service);
  EXPECT_EQ(Run({"version"}).out,
            "weirctl " WEIR_VERSION "\nweir-controller 9.8.7 at " + service.address() + "\n");
  EXPECT_EQ(Run({"version", "-o", "json"}).out,
            "{\n  \"client\": \"" WEIR_VERSION "\",\n  \"server\": \"9.8.7\"\n}\n");
  EXPECT_EQ(Run({"version", "--client", "--server", "127.0.0.1:1"}).code, 0);
  const Output alone = Run({"version", "--server", "127.0.0.1:1"});
  EXPECT_EQ(alone.code, 1);
  EXPECT_EQ(alone.out, "weirctl " WEIR_VERSION "\n");
}

TEST_F(VerbsTest, UsageErrorsAreExitCodeOne) {
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{},
                                                    {"frobnicate"},
                                                    {"get"},
                                                    {"get", "pods"},
                                                    {"promote"},
                                                    {"get", "rollouts", "-o", "xml"},
                                                    {"get", "rollouts", "-n", "a", "-A"},
                                                    {"abort", "x", "-A"},
                                                    {"delete"},
                                                    {"delete", "Rollout"},
                                                    {"delete", "Pod", "x"},
                                                    {"get", "rollouts", "--request-timeout", "soon"}}) {
    const Output output = Run(arguments);
    EXPECT_EQ(output.code, 1) << ::testing::PrintToString(arguments);
    EXPECT_TRUE(output.err.starts_with("weirctl: ")) << ::testing::PrintToString(arguments) << output.err;
    EXPECT_EQ(output.out, "");
  }
  EXPECT_EQ(Run({"--help"}).code, 0);
  EXPECT_EQ(Run({"status", "--help"}).code, 0);
}

// As kubectl runs it for `kubectl weir`.
TEST_F(VerbsTest, PluginOfKubectl) {
  EXPECT_EQ(ProgramName("/usr/local/bin/kubectl-weir"), "kubectl weir");
  EXPECT_EQ(ProgramName("kubectl-weir"), "kubectl weir");
  EXPECT_EQ(ProgramName("./bin/weirctl"), "weirctl");
  EXPECT_EQ(ProgramName("/opt/kubectl-weir/weirctl"), "weirctl");
  EXPECT_EQ(ProgramName(""), "weirctl");
  program_ = "kubectl weir";
  const Output help = Run({"--help"});
  EXPECT_NE(help.out.find("Usage: kubectl weir [OPTIONS]"), std::string::npos) << help.out;
  EXPECT_NE(Run({"promote", "--help"}).out.find("Usage: kubectl weir promote"), std::string::npos);
  EXPECT_TRUE(Run({"frobnicate"}).err.starts_with("kubectl weir: "));
  EXPECT_NE(Run({"frobnicate"}).err.find("Run kubectl weir --help"), std::string::npos);
  EXPECT_TRUE(Run({"get", "rollouts", "--server", "127.0.0.1:1"}).err.starts_with("kubectl weir: "));
  // What completes weirctl's command line is not changed by the name it was printed under.
  const std::string completion = Run({"completion", "bash"}).out;
  program_ = "weirctl";
  EXPECT_EQ(completion, Run({"completion", "bash"}).out);
}

TEST_F(ApplyTest, SendsFilesDirectoriesAndInput) {
  FakeWeirService service;
  UseServer(service);
  const std::string file = Write("single.txt", "kind: Service\n");
  fs::create_directory(directory_ / "more");
  Write("more/b.yaml", "b: 1\n");
  Write("more/a.yml", "a: 1\n");
  Write("more/notes.md", "not a manifest\n");
  input_ = "kind: Rollout\n";
  const Output output = Run({"apply", "-f", file, "-f", (directory_ / "more").string(), "-f", "-"});
  EXPECT_EQ(output.code, 0) << output.err;
  EXPECT_EQ(output.out,
            "Service shop/checkout unchanged\n"
            "EndpointSlice shop/checkout created\n"
            "Rollout shop/checkout configured\n");
  ASSERT_EQ(service.applied.files_size(), 4);
  EXPECT_EQ(service.applied.files(0).name(), file);
  EXPECT_EQ(service.applied.files(0).yaml(), "kind: Service\n");
  EXPECT_TRUE(service.applied.files(1).name().ends_with("more/a.yml"));
  EXPECT_TRUE(service.applied.files(2).name().ends_with("more/b.yaml"));
  EXPECT_EQ(service.applied.files(3).name(), "standard input");
  EXPECT_EQ(service.applied.files(3).yaml(), "kind: Rollout\n");
  EXPECT_FALSE(service.applied.dry_run());
}

TEST_F(ApplyTest, DryRunIsPassedOnAndSaid) {
  FakeWeirService service;
  UseServer(service);
  input_ = "kind: Rollout\n";
  const Output output = Run({"apply", "--dry-run", "-f", "-"});
  EXPECT_TRUE(service.applied.dry_run());
  EXPECT_NE(output.out.find("EndpointSlice shop/checkout created (dry run)\n"), std::string::npos);
}

TEST_F(ApplyTest, WhatCannotBeReadIsNamed) {
  FakeWeirService service;
  UseServer(service);
  fs::create_directory(directory_ / "empty");
  Write("blank.yaml", " \n");
  const auto expect = [&](const std::string& path, const std::string& words) {
    const Output output = Run({"apply", "-f", path});
    EXPECT_EQ(output.code, 1);
    EXPECT_NE(output.err.find(path + ": " + words), std::string::npos) << output.err;
  };
  expect((directory_ / "absent.yaml").string(), "cannot be opened: No such file or directory");
  expect((directory_ / "empty").string(), "no *.yaml, *.yml or *.json file in this directory");
  expect((directory_ / "blank.yaml").string(), "empty; expected at least one manifest");
  EXPECT_EQ(Run({"apply", "-f", "-", "-f", "-"}).code, 1);
  EXPECT_EQ(Run({"apply", "-n", "shop", "-f", (directory_ / "blank.yaml").string()}).code, 1);
  EXPECT_EQ(service.applied.files_size(), 0);
}

TEST_F(ApplyTest, DeleteByNameAndByManifest) {
  FakeWeirService service;
  UseServer(service);
  EXPECT_EQ(Run({"delete", "rollout", "checkout", "-n", "shop"}).out, "Rollout shop/checkout deleted\n");
  EXPECT_EQ(service.deleted.kind(), "Rollout");
  const std::string file = Write("a.yaml", "kind: Service\n");
  EXPECT_EQ(Run({"delete", "-f", file}).code, 0);
  ASSERT_EQ(service.deleted.files_size(), 1);
  EXPECT_EQ(service.deleted.files(0).yaml(), "kind: Service\n");
  EXPECT_EQ(Run({"delete", "-f", file, "rollout", "checkout"}).code, 1);
}

}  // namespace
}  // namespace weir::cli
