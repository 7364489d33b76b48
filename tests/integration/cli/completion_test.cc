#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "tests/integration/cli/cli_fixture.h"

namespace weir::cli {
namespace {

/// What `command` prints when `script` lies in a file whose name is in $SCRIPT; its exit status as `code`.
Output InShell(const std::string& script, const std::string& command) {
  const std::string path = ::testing::TempDir() + "weirctl-completion-" + std::to_string(getpid());
  std::ofstream(path) << script;
  Output output;
  FILE* pipe = popen(("SCRIPT='" + path + "'; export SCRIPT; " + command + " 2>&1").c_str(), "r");
  char buffer[4096];
  for (size_t n = 0; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) output.out.append(buffer, n);
  output.code = pclose(pipe);
  std::remove(path.c_str());
  return output;
}

bool Installed(const std::string& shell) { return InShell("", "command -v " + shell).code == 0; }

class CompletionTest : public CliTest {
 protected:
  /// The words bash offers for the last of `words`.
  std::string BashOffers(const std::string& words, int last) {
    return InShell(Run({"completion", "bash"}).out, "bash --norc -c 'source \"$SCRIPT\"; COMP_WORDS=(" +
                                                        words + "); COMP_CWORD=" + std::to_string(last) +
                                                        "; _weirctl; echo \"${COMPREPLY[*]}\"'")
        .out;
  }
};

TEST_F(CompletionTest, BashCompletesCommandsOptionsAndValues) {
  EXPECT_EQ(BashOffers("weirctl st", 1), "status\n");
  EXPECT_EQ(BashOffers("weirctl get \"\"", 2), "rollouts splits nodes services analysis webhooks\n");
  EXPECT_EQ(BashOffers("weirctl -n shop get ro", 4), "rollouts\n");
  EXPECT_EQ(BashOffers("weirctl get rollouts -o j", 4), "json\n");
  EXPECT_EQ(BashOffers("weirctl to", 1), "top\n");
  EXPECT_EQ(BashOffers("weirctl top --on", 2), "--once\n");
  EXPECT_EQ(BashOffers("weirctl top -o j", 3), "json\n");
  EXPECT_EQ(BashOffers("weirctl promote --fu", 2), "--full\n");
  EXPECT_EQ(BashOffers("weirctl completion \"\"", 2), "bash zsh fish\n");
}

TEST_F(CompletionTest, EveryShellReadsItsScript) {
  for (const std::string shell : {"bash", "zsh", "fish"}) {
    const Output script = Run({"completion", shell});
    EXPECT_EQ(script.code, 0);
    EXPECT_NE(script.out.find("to-revision"), std::string::npos) << shell;
    if (!Installed(shell)) continue;  // zsh and fish are optional; bash runs the tests
    const Output check =
        InShell(script.out, shell + (shell == "fish" ? " --no-execute" : " -n") + " \"$SCRIPT\"");
    EXPECT_EQ(check.code, 0) << shell << ": " << check.out;
    EXPECT_EQ(check.out, "") << shell;
  }
}

TEST_F(CompletionTest, UnknownShellIsRefused) { EXPECT_EQ(Run({"completion", "tcsh"}).code, 1); }

}  // namespace
}  // namespace weir::cli
