// The files of tests/testdata/manifests: good ones are read, stored and read again; each of bad/ owes the
// error in its first line, "# expect: TEXT".
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "controller/model/manifest.h"

namespace weir::model {
namespace {

std::vector<std::filesystem::path> Files(const std::string& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".yaml") files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

std::string ReadAll(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// As apply does it: each object by itself, then all together.
Status Check(std::string_view yaml, const std::string& name, Origin origin = Origin::kFiles) {
  const auto documents = ParseManifests(yaml, name);
  if (!documents.ok()) return documents.status();
  ObjectSet set;
  for (const Document& document : *documents) set.Put(document.object);
  return ValidateSet(set, origin);
}

TEST(ManifestFiles, GoodOnesAreReadAndReadAgainFromTheStore) {
  auto files = Files(WEIR_MANIFESTS);
  // As others' controllers write them.
  std::ranges::copy(Files(std::string(WEIR_MANIFESTS) + "/driven"), std::back_inserter(files));
  ASSERT_GE(files.size(), 15U);
  for (const auto& path : files) {
    SCOPED_TRACE(path.filename().string());
    const std::string text = ReadAll(path);
    const auto documents = ParseManifests(text, path.filename().string());
    ASSERT_TRUE(documents.ok()) << documents.status();
    EXPECT_FALSE(documents->empty());
    EXPECT_TRUE(Check(text, "f").ok()) << Check(text, "f");
    EXPECT_TRUE(Check(text, "f", Origin::kCluster).ok()) << Check(text, "f", Origin::kCluster);
    for (const Document& document : *documents) {
      const auto again = ParseManifests(document.yaml, "stored");
      ASSERT_TRUE(again.ok()) << again.status() << "\n" << document.yaml;
      ASSERT_EQ(again->size(), 1U);
      EXPECT_EQ(again->front().object, document.object);
      EXPECT_EQ(again->front().yaml, document.yaml);
    }
  }
}

TEST(ManifestFiles, BadOnesGetTheErrorTheyExpect) {
  const auto files = Files(std::string(WEIR_MANIFESTS) + "/bad");
  ASSERT_GE(files.size(), 70U);
  constexpr std::string_view kExpect = "# expect: ";
  for (const auto& path : files) {
    SCOPED_TRACE(path.filename().string());
    const std::string text = ReadAll(path);
    ASSERT_TRUE(text.starts_with(kExpect));
    const std::string expected = text.substr(kExpect.size(), text.find('\n') - kExpect.size());
    const Status status = Check(text, path.filename().string());
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(Message(status).find(expected), std::string::npos)
        << "expected " << expected << "\nfound    " << status;
  }
}

}  // namespace
}  // namespace weir::model
