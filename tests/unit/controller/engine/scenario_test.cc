#include "tests/unit/controller/engine/scenario.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace weir::engine {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> ScenarioFiles() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(WEIR_SCENARIOS)) {
    if (entry.path().extension() == ".txt") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

class ScenarioTest : public testing::TestWithParam<fs::path> {};

TEST_P(ScenarioTest, Holds) {
  std::ifstream in(GetParam());
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  ASSERT_FALSE(text.empty());
  for (const std::string& failure : PlayScenario(text, GetParam().filename().string()))
    ADD_FAILURE() << failure;
}

INSTANTIATE_TEST_SUITE_P(Files, ScenarioTest, testing::ValuesIn(ScenarioFiles()), [](const auto& param) {
  std::string name = param.param.stem().string();
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
  return name;
});

TEST(PlayScenarioTest, SaysWhatDoesNotHold) {
  struct Case {
    const char *text, *failure;
  };
  const Case cases[] = {
      {"spec revision=v1\nexpect stable=v2", "t:2: stable is \"v1\", expected \"v2\""},
      {"spec revision=v1\nexpect message~nothing publish=v1:100",
       "t:2: message is \"\", expected something with"},
      {"spec revision=v1\nexpect stable=v1", "t:2: unexpected publish \"v1:100\""},
      {"abort\nexpect stable=", "t:2: unexpected reject"},
      {"jump", "t:1: \"jump\" is not understood here"},
      {"tick +10x", "t:1: \"+10x\" is not understood here"},
      {"spec revision=v1 steps=20,wait", "t:1: \"wait\" is not understood here"},
      {"tick", "t:1: the scenario ends without an expect line"},
  };
  for (const Case& c : cases) {
    const std::vector<std::string> failures = PlayScenario(c.text, "t");
    ASSERT_FALSE(failures.empty()) << c.text;
    EXPECT_EQ(failures[0].rfind(c.failure, 0), 0u) << failures[0];
  }
  EXPECT_TRUE(PlayScenario("spec revision=v1\nexpect stable=v1 publish=v1:100", "t").empty());
}

}  // namespace
}  // namespace weir::engine
