#include "controller/store/store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <random>

namespace weir::store {
namespace {

namespace fs = std::filesystem;

class StoreTest : public testing::Test {
 protected:
  StoreTest() {
    std::string pattern = (fs::temp_directory_path() / "weir-store-XXXXXX").string();
    base_ = mkdtemp(pattern.data());
    directory_ = base_ / "state";
  }
  ~StoreTest() override { fs::remove_all(base_); }

  std::unique_ptr<Store> OpenOrDie() {
    auto store = Store::Open(directory_);
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }

  static std::string Read(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static void Write(const fs::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  }

  // Opening is refused with `code`, naming the path and each of `parts`, and leaves every file as it was.
  void ExpectRefused(absl::StatusCode code, const std::vector<std::string>& parts) {
    std::map<std::string, std::string> before;
    for (const auto& entry : fs::directory_iterator(directory_)) before[entry.path()] = Read(entry.path());
    auto store = Store::Open(directory_);
    ASSERT_FALSE(store.ok());
    EXPECT_EQ(store.status().code(), code) << store.status();
    for (const auto& part : parts)
      EXPECT_NE(Message(store.status()).find(part), std::string::npos) << store.status();
    EXPECT_NE(Message(store.status()).find(directory_.string()), std::string::npos) << store.status();
    for (const auto& [path, bytes] : before) {
      if (!path.ends_with("-shm")) {
        EXPECT_EQ(Read(path), bytes) << path;  // the shared index is a cache
      }
    }
  }

  void Execute(const std::string& sql) {
    sqlite3* connection = nullptr;
    ASSERT_EQ(sqlite3_open((directory_ / "weir.db").c_str(), &connection), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(connection, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << sqlite3_errmsg(connection);
    sqlite3_close(connection);
  }

  fs::path base_, directory_;
};

Batch SomeBatch() {
  Batch batch;
  batch.objects[{"Service", "shop", "checkout"}] = "kind: Service\n";
  batch.objects[{"Rollout", "shop", "checkout"}] = "kind: Rollout\n";
  batch.states[{"shop", "checkout"}] = "{}";
  batch.nodes["a"] = 0;
  batch.nodes["b"] = 1;
  batch.runs[{"shop", "checkout", "v2-1-step-0"}] = "{}";
  batch.runs[{"shop", "checkout", "v2-1-step-1"}] = "{}";
  batch.generation = GenerationMark{7, "seven"};
  return batch;
}

TEST_F(StoreTest, ANewDirectoryIsEmptyAndKeepsItsIdentity) {
  std::string id;
  {
    auto store = OpenOrDie();
    id = store->controller_id();
    EXPECT_EQ(id.size(), 36u);
    EXPECT_EQ(*store->Load(), Contents{});
  }
  EXPECT_EQ(OpenOrDie()->controller_id(), id);
  fs::remove_all(directory_);
  EXPECT_NE(OpenOrDie()->controller_id(), id);
}

TEST_F(StoreTest, HoldsWhatWasCommitted) {
  {
    auto store = OpenOrDie();
    ASSERT_TRUE(store->Commit(SomeBatch()).ok());
    Batch second;
    second.objects[{"Service", "shop", "checkout"}] = "kind: Service # changed\n";
    second.objects[{"Rollout", "shop", "checkout"}] = std::nullopt;
    second.states[{"shop", "checkout"}] = std::nullopt;
    second.nodes = {{"b", std::nullopt}, {"c", 2}};
    second.runs[{"shop", "checkout", "v2-1-step-0"}] = "{...}";
    second.runs[{"shop", "checkout", "v2-1-step-1"}] = std::nullopt;
    second.generation = GenerationMark{8, "eight"};
    ASSERT_TRUE(store->Commit(second).ok());
  }
  auto contents = OpenOrDie()->Load();
  ASSERT_TRUE(contents.ok()) << contents.status();
  Contents expected;
  expected.objects[{"Service", "shop", "checkout"}] = "kind: Service # changed\n";
  expected.nodes = {{"a", 0}, {"c", 2}};
  expected.runs[{"shop", "checkout", "v2-1-step-0"}] = "{...}";
  expected.generation = {8, "eight"};
  EXPECT_EQ(*contents, expected);
}

TEST_F(StoreTest, ADatabaseFromBeforeThereWereRunsIsTaken) {
  {
    auto store = OpenOrDie();
    ASSERT_TRUE(store->Commit(SomeBatch()).ok());
  }
  Execute("DROP TABLE runs");
  auto contents = OpenOrDie()->Load();
  ASSERT_TRUE(contents.ok()) << contents.status();
  EXPECT_EQ(contents->objects.size(), 2U);
  EXPECT_TRUE(contents->runs.empty());
}

TEST_F(StoreTest, TheGenerationNeverGoesBackNorChangesItsContent) {
  auto store = OpenOrDie();
  ASSERT_TRUE(store->Commit(SomeBatch()).ok());
  for (GenerationMark mark : {GenerationMark{6, "six"}, GenerationMark{7, "other"}, GenerationMark{0, ""},
                              GenerationMark{~uint64_t{0}, "beyond"}}) {
    Batch batch;
    batch.generation = mark;
    batch.objects[{"Service", "shop", "other"}] = "kind: Service\n";
    EXPECT_EQ(store->Commit(batch).code(), absl::StatusCode::kFailedPrecondition) << mark.number;
  }
  EXPECT_EQ(store->Load()->objects.size(), 2u);
  Batch same;
  same.generation = GenerationMark{7, "seven"};
  EXPECT_TRUE(store->Commit(same).ok());
}

TEST_F(StoreTest, AFailedBatchLeavesNothing) {
  auto store = OpenOrDie();
  ASSERT_TRUE(store->Commit(SomeBatch()).ok());
  Batch batch;
  batch.objects[{"Service", "shop", "other"}] = "kind: Service\n";
  batch.nodes["c"] = 1;  // b's number
  EXPECT_FALSE(store->Commit(batch).ok());
  EXPECT_EQ(store->Load()->objects.size(), 2u);
  batch.nodes = {{"c", 2}};
  EXPECT_TRUE(store->Commit(batch).ok());
}

TEST_F(StoreTest, OneControllerAtATime) {
  auto store = OpenOrDie();
  ExpectRefused(absl::StatusCode::kUnavailable, {"in use by another weir-controller"});
  ASSERT_TRUE(store->Commit(SomeBatch()).ok());
  store.reset();
  EXPECT_EQ(OpenOrDie()->Load()->objects.size(), 2u);
}

TEST_F(StoreTest, RefusesAnotherVersion) {
  OpenOrDie();
  Execute("PRAGMA user_version=2");
  ExpectRefused(absl::StatusCode::kFailedPrecondition, {"schema version 2", "reads version 1"});
}

TEST_F(StoreTest, RefusesForeignFiles) {
  OpenOrDie();
  Execute("PRAGMA application_id=77");
  ExpectRefused(absl::StatusCode::kFailedPrecondition, {"database of another program", "0x4d"});
  Write(directory_ / "weir.db", std::string(4096, 'x'));
  ExpectRefused(absl::StatusCode::kFailedPrecondition, {"not an SQLite database"});
  fs::remove_all(directory_);
  Write(directory_, "a file");
  auto store = Store::Open(directory_);
  ASSERT_FALSE(store.ok());
  EXPECT_NE(Message(store.status()).find(directory_.string()), std::string::npos);
}

TEST_F(StoreTest, RefusesTruncatedFiles) {
  {
    auto store = OpenOrDie();
    ASSERT_TRUE(store->Commit(SomeBatch()).ok());
  }
  std::string whole = Read(directory_ / "weir.db");
  ASSERT_GT(whole.size(), 5 * 4096u);
  for (size_t length : {size_t{0}, size_t{60}, size_t{4096}, whole.size() - 4096, whole.size() - 1}) {
    Write(directory_ / "weir.db", whole.substr(0, length));
    ExpectRefused(absl::StatusCode::kDataLoss, {"damaged", "backup"});
  }
  Write(directory_ / "weir.db", whole);
  EXPECT_EQ(OpenOrDie()->Load()->objects.size(), 2u);
}

TEST_F(StoreTest, RefusesCorruptedPages) {
  {
    auto store = OpenOrDie();
    ASSERT_TRUE(store->Commit(SomeBatch()).ok());
  }
  std::string whole = Read(directory_ / "weir.db");
  for (size_t page = 1; page * 4096 < whole.size(); ++page) {
    std::string broken = whole;
    std::fill_n(broken.begin() + page * 4096, 4096, '\xa5');
    Write(directory_ / "weir.db", broken);
    ExpectRefused(absl::StatusCode::kDataLoss, {"damaged"});
  }
}

TEST_F(StoreTest, RefusesAFlippedDigit) {
  {
    auto store = OpenOrDie();
    Batch batch = SomeBatch();
    batch.states[{"shop", "checkout"}] = R"({"weight": 20})";
    ASSERT_TRUE(store->Commit(batch).ok());
  }
  std::string bytes = Read(directory_ / "weir.db");
  size_t at = bytes.find("\"weight\": 20");
  ASSERT_NE(at, std::string::npos);
  bytes[at + 10] = '9';
  Write(directory_ / "weir.db", bytes);
  ExpectRefused(absl::StatusCode::kDataLoss, {"state of rollout shop/checkout"});
}

TEST_F(StoreTest, RefusesALogWithoutItsDatabase) {
  OpenOrDie();
  fs::remove(directory_ / "weir.db");
  Write(directory_ / "weir.db-wal", "left over");
  ExpectRefused(absl::StatusCode::kDataLoss, {"is missing"});
}

TEST_F(StoreTest, AnUnfinishedCreationIsStartedAgain) {
  fs::create_directory(directory_);
  Write(directory_ / "weir.db.new", "half");
  EXPECT_EQ(*OpenOrDie()->Load(), Contents{});
  EXPECT_FALSE(fs::exists(directory_ / "weir.db.new"));
}

// Opens `directory` as an ordinary user in a child process; returns the message of the refusal, "" when it
// opened.
std::string OpenUnprivileged(const fs::path& directory) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  pid_t child = fork();
  if (child == 0) {
    constexpr uid_t kNobody = 65534;
    std::string text = "setuid failed";
    if (geteuid() != 0 || setuid(kNobody) == 0) text = Message(Store::Open(directory).status());
    [[maybe_unused]] auto written = write(ends[1], text.data(), text.size());
    _exit(0);
  }
  close(ends[1]);
  std::string text(4096, '\0');
  ssize_t length = read(ends[0], text.data(), text.size());
  text.resize(std::max<ssize_t>(length, 0));
  close(ends[0]);
  waitpid(child, nullptr, 0);
  return text;
}

TEST_F(StoreTest, RefusesAReadOnlyDirectory) {
  OpenOrDie();
  chmod(base_.c_str(), 0755);
  chmod((directory_ / "weir.db").c_str(), 0444);
  chmod(directory_.c_str(), 0555);
  std::string text = OpenUnprivileged(directory_);
  EXPECT_NE(text.find("cannot be written"), std::string::npos) << text;
  EXPECT_NE(text.find(directory_.string()), std::string::npos) << text;
  chmod(directory_.c_str(), 0755);
}

// Each batch k holds k in four rows; the child tells k over the pipe after Commit returned.
void CommitForever(const fs::path& directory, int report) {
  auto store = Store::Open(directory);
  if (!store.ok()) _exit(1);
  auto contents = (*store)->Load();
  if (!contents.ok()) _exit(2);
  for (uint64_t k = contents->generation.number + 1;; ++k) {
    std::string text = std::to_string(k) + std::string(k % 7 * 1500, '.');
    Batch batch;
    batch.objects[{"Service", "shop", "a"}] = text;
    batch.objects[{"Service", "shop", "b"}] = text;
    batch.states[{"shop", "a"}] = text;
    batch.nodes["n" + std::to_string(k)] = k;
    batch.generation = GenerationMark{k, text};
    if (!(*store)->Commit(batch).ok()) _exit(3);
    if (write(report, &k, sizeof(k)) != sizeof(k)) _exit(4);
  }
}

TEST_F(StoreTest, SurvivesBeingKilledDuringWrites) {
  std::mt19937 random(20);
  uint64_t told = 0;
  for (int round = 0; round < 40; ++round) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) CommitForever(directory_, ends[1]);
    close(ends[1]);
    // Killed after a random number of commits, at a moment that differs from run to run by what the disk
    // does.
    uint64_t commits = random() % 20;
    for (uint64_t i = 0; i < commits; ++i)
      ASSERT_EQ(read(ends[0], &told, sizeof(told)), ssize_t{sizeof(told)});
    if (round % 2 == 1) usleep(random() % 3000);
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself with " << WEXITSTATUS(status);
    while (read(ends[0], &told, sizeof(told)) == sizeof(told)) {
    }
    close(ends[0]);

    auto contents = OpenOrDie()->Load();
    ASSERT_TRUE(contents.ok()) << contents.status();
    uint64_t k = contents->generation.number;
    ASSERT_TRUE(k == told || k == told + 1) << "stored " << k << ", acknowledged " << told;
    told = k;
    if (k == 0) continue;
    std::string text = std::to_string(k) + std::string(k % 7 * 1500, '.');
    EXPECT_EQ(contents->generation.digest, text);
    EXPECT_EQ((contents->objects[{"Service", "shop", "a"}]), text);
    EXPECT_EQ((contents->objects[{"Service", "shop", "b"}]), text);
    EXPECT_EQ((contents->states[{"shop", "a"}]), text);
    EXPECT_EQ(contents->nodes.size(), k);
  }
  EXPECT_GT(told, 50u);
}

}  // namespace
}  // namespace weir::store
