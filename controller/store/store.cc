#include "controller/store/store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <boost/crc.hpp>
#include <boost/uuid/random_generator.hpp>
#include <boost/uuid/uuid_io.hpp>
#include <cerrno>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "controller/store/sqlite.h"

namespace weir::store {
namespace {

namespace fs = std::filesystem;

constexpr char kSchema[] = R"sql(
CREATE TABLE objects (kind TEXT NOT NULL, ns TEXT NOT NULL, name TEXT NOT NULL, yaml TEXT NOT NULL,
  crc INTEGER NOT NULL, PRIMARY KEY (kind, ns, name)) WITHOUT ROWID;
CREATE TABLE states (ns TEXT NOT NULL, name TEXT NOT NULL, json TEXT NOT NULL,
  crc INTEGER NOT NULL, PRIMARY KEY (ns, name)) WITHOUT ROWID;
CREATE TABLE nodes (name TEXT NOT NULL PRIMARY KEY, number INTEGER NOT NULL UNIQUE,
  crc INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE facts (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
)sql";

// Not of the first version 1; one that does not know the table leaves it alone.
constexpr char kRunsTable[] = R"sql(
CREATE TABLE IF NOT EXISTS runs (ns TEXT NOT NULL, rollout TEXT NOT NULL, id TEXT NOT NULL, json TEXT NOT NULL,
  crc INTEGER NOT NULL, PRIMARY KEY (ns, rollout, id)) WITHOUT ROWID;
)sql";

constexpr char kControllerId[] = "controller_id";
constexpr char kGeneration[] = "generation";
constexpr char kDigest[] = "generation_digest";

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

/// A row without its checksum, the last column.
using Columns = std::vector<std::string>;

int64_t Checksum(const Columns& columns) {
  boost::crc_32_type crc;
  for (const std::string& part : columns) {
    crc.process_bytes(part.data(), part.size());
    crc.process_byte(0);  // ("ab", "c") differs from ("a", "bc")
  }
  return crc.checksum();
}

Status Damaged(const fs::path& database, std::string_view detail) {
  return Error(
      absl::StatusCode::kDataLoss,
      "state database {} is damaged ({}): restore the directory from a backup, or move it away and apply the "
      "manifests again; nothing was changed",
      database.string(), detail);
}

uint32_t BigEndian32(const unsigned char* bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
}

// Both numbers are written before the file gets its name and never change, so the header on disk is up to
// date whatever the write-ahead log holds.
Status CheckHeader(const fs::path& database) {
  FileDescriptor file(open(database.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return ErrnoStatus(errno, fmt::format("open state database {}", database.string()));
  std::array<unsigned char, 100> header{};
  ssize_t length = pread(file.get(), header.data(), header.size(), 0);
  if (length < 0) return ErrnoStatus(errno, fmt::format("read state database {}", database.string()));
  if (length < static_cast<ssize_t>(header.size())) {
    return Damaged(database, fmt::format("{} bytes long, expected a header of 100", length));
  }
  static constexpr char kMagic[] = "SQLite format 3";  // with its terminating zero
  if (std::memcmp(header.data(), kMagic, sizeof(kMagic)) != 0) {
    return FailedPrecondition(
        "{} is not an SQLite database: give another --state directory, or restore this one from a backup; "
        "nothing "
        "was changed",
        database.string());
  }
  uint32_t application = BigEndian32(&header[68]);
  if (application != static_cast<uint32_t>(kApplicationId)) {
    return FailedPrecondition(
        "{} is a database of another program (application_id {:#x}, expected {:#x}): give another --state "
        "directory; nothing was changed",
        database.string(), application, static_cast<uint32_t>(kApplicationId));
  }
  uint32_t version = BigEndian32(&header[60]);
  if (version != static_cast<uint32_t>(kSchemaVersion)) {
    return FailedPrecondition(
        "state database {} has schema version {}, this weir-controller reads version {}: start the "
        "weir-controller "
        "that wrote it, or give another --state directory; nothing was changed",
        database.string(), version, kSchemaVersion);
  }
  return OkStatus();
}

Status CheckPages(const Database& connection, const fs::path& database) {
  auto statement = connection.Prepare("PRAGMA quick_check(1)");
  if (!statement.ok()) return Damaged(database, Message(statement.status()));
  auto row = statement->Step();
  if (!row.ok()) {
    if (row.status().code() == absl::StatusCode::kDataLoss) return Damaged(database, Message(row.status()));
    return Annotate(row.status(), fmt::format("check state database {}", database.string()));
  }
  std::string verdict = *row == Statement::Row::kRow ? statement->Text(0) : "no answer from quick_check";
  if (verdict != "ok") return Damaged(database, verdict);
  return OkStatus();
}

void BindColumns(Statement& statement, const Columns& columns) {
  int at = 0;
  for (const std::string& column : columns) statement.Bind(++at, column);
}

Status PutRow(Statement& put, const Columns& columns) {
  BindColumns(put, columns);
  put.Bind(static_cast<int>(columns.size()) + 1, Checksum(columns));
  return put.Run();
}

/// Puts the rows that have a value, and erases the others. `key_of` gives a key's columns; the value's
/// follows them.
template <typename Key, typename Value, typename KeyOf>
Status WriteRows(const Database& connection, std::string_view put_sql, std::string_view erase_sql,
                 const std::map<Key, std::optional<Value>>& rows, KeyOf key_of) {
  if (rows.empty()) return OkStatus();
  ASSIGN_OR_RETURN(Statement put, connection.Prepare(put_sql));
  ASSIGN_OR_RETURN(Statement erase, connection.Prepare(erase_sql));
  for (const auto& [key, value] : rows) {
    Columns columns = key_of(key);
    if (value) {
      columns.push_back(fmt::format("{}", *value));
      RETURN_IF_ERROR(PutRow(put, columns));
    } else {
      BindColumns(erase, columns);
      RETURN_IF_ERROR(erase.Run());
    }
  }
  return OkStatus();
}

Status PutFact(const Database& connection, const std::string& name, const std::string& value) {
  ASSIGN_OR_RETURN(Statement put, connection.Prepare("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)"));
  return PutRow(put, {name, value});
}

Status SyncDirectory(const FileDescriptor& directory, const fs::path& path) {
  if (fsync(directory.get()) != 0) return ErrnoStatus(errno, fmt::format("fsync {}", path.string()));
  return OkStatus();
}

// The database gets its name only when it is complete.
Status Create(const fs::path& database, const FileDescriptor& directory) {
  fs::path fresh = database.string() + ".new";
  for (const char* suffix : {"", "-journal"}) {
    std::error_code ignored;  // what cannot be removed makes the open below fail with a better text
    fs::remove(fresh.string() + suffix, ignored);
  }
  {
    ASSIGN_OR_RETURN(Database connection,
                     Database::Open(fresh.string(), SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
    RETURN_IF_ERROR(connection.Execute("PRAGMA synchronous=FULL"));
    RETURN_IF_ERROR(
        connection.Execute(fmt::format("BEGIN; PRAGMA application_id={}; PRAGMA user_version={}; {}",
                                       kApplicationId, kSchemaVersion, kSchema)));
    RETURN_IF_ERROR(PutFact(connection, kControllerId, to_string(boost::uuids::random_generator()())));
    RETURN_IF_ERROR(PutFact(connection, kGeneration, "0"));
    RETURN_IF_ERROR(PutFact(connection, kDigest, ""));
    RETURN_IF_ERROR(connection.Execute("COMMIT"));
  }
  if (rename(fresh.c_str(), database.c_str()) != 0) {
    return ErrnoStatus(errno, fmt::format("rename {} to {}", fresh.string(), database.string()));
  }
  return SyncDirectory(directory, database.parent_path());
}

class SqliteStore final : public Store {
 public:
  SqliteStore(FileDescriptor lock, Database connection, fs::path database)
      : lock_(std::move(lock)), connection_(std::move(connection)), database_(std::move(database)) {}

  Status Init() {
    ASSIGN_OR_RETURN(Contents contents, Load());
    generation_ = contents.generation;
    connection_.CheckpointOnClose(true);
    return OkStatus();
  }

  Result<Contents> Load() override;
  Status Commit(const Batch& batch) override;
  const std::string& controller_id() const override { return controller_id_; }

 private:
  Status LoadFacts(Contents& contents);
  Status Write(const Batch& batch);
  /// Checks each row, whose last column is the checksum of the `columns` before it. `name_of` says what a row
  /// is.
  template <typename NameOf, typename Take>
  Status ReadRows(std::string_view sql, int columns, NameOf name_of, Take take);

  FileDescriptor lock_;  // released after the connection is closed
  Database connection_;
  fs::path database_;
  std::string controller_id_;
  GenerationMark generation_;
};

template <typename NameOf, typename Take>
Status SqliteStore::ReadRows(std::string_view sql, int columns, NameOf name_of, Take take) {
  ASSIGN_OR_RETURN(Statement statement, connection_.Prepare(sql));
  while (true) {
    ASSIGN_OR_RETURN(auto row, statement.Step());
    if (row == Statement::Row::kDone) return OkStatus();
    Columns found;
    for (int column = 0; column < columns; ++column) found.push_back(statement.Text(column));
    if (statement.Integer(columns) != Checksum(found))
      return Damaged(database_, fmt::format("checksum of {} does not fit", name_of(found)));
    take(std::move(found));
  }
}

Status SqliteStore::LoadFacts(Contents& contents) {
  std::map<std::string, std::string> facts;
  RETURN_IF_ERROR(ReadRows(
      "SELECT name, value, crc FROM facts", 2, [](const Columns& row) { return "fact " + row[0]; },
      [&](Columns row) { facts.emplace(std::move(row[0]), std::move(row[1])); }));
  for (const char* name : {kControllerId, kGeneration, kDigest}) {
    if (!facts.contains(name)) return Damaged(database_, fmt::format("fact {} is missing", name));
  }
  controller_id_ = facts[kControllerId];
  contents.generation.number = std::strtoull(facts[kGeneration].c_str(), nullptr, 10);
  contents.generation.digest = facts[kDigest];
  return OkStatus();
}

Result<Contents> SqliteStore::Load() {
  Contents contents;
  RETURN_IF_ERROR(LoadFacts(contents));
  RETURN_IF_ERROR(ReadRows(
      "SELECT kind, ns, name, yaml, crc FROM objects", 4,
      [](const Columns& row) { return fmt::format("object {} {}/{}", row[0], row[1], row[2]); },
      [&](Columns row) {
        contents.objects.emplace(ObjectKey{std::move(row[0]), std::move(row[1]), std::move(row[2])},
                                 std::move(row[3]));
      }));
  RETURN_IF_ERROR(ReadRows(
      "SELECT ns, name, json, crc FROM states", 3,
      [](const Columns& row) { return fmt::format("state of rollout {}/{}", row[0], row[1]); },
      [&](Columns row) {
        contents.states.emplace(RolloutKey{std::move(row[0]), std::move(row[1])}, std::move(row[2]));
      }));
  RETURN_IF_ERROR(ReadRows(
      "SELECT name, number, crc FROM nodes", 2, [](const Columns& row) { return "node " + row[0]; },
      [&](Columns row) {
        contents.nodes.emplace(std::move(row[0]),
                               static_cast<uint32_t>(std::strtoull(row[1].c_str(), nullptr, 10)));
      }));
  RETURN_IF_ERROR(ReadRows(
      "SELECT ns, rollout, id, json, crc FROM runs", 4,
      [](const Columns& row) { return fmt::format("run {} of rollout {}/{}", row[2], row[0], row[1]); },
      [&](Columns row) {
        contents.runs.emplace(RunKey{std::move(row[0]), std::move(row[1]), std::move(row[2])},
                              std::move(row[3]));
      }));
  return contents;
}

Status SqliteStore::Write(const Batch& batch) {
  RETURN_IF_ERROR(WriteRows(connection_, "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)",
                            "DELETE FROM objects WHERE kind = ? AND ns = ? AND name = ?", batch.objects,
                            [](const ObjectKey& key) {
                              return Columns{key.kind, key.ns, key.name};
                            }));
  RETURN_IF_ERROR(WriteRows(connection_, "INSERT OR REPLACE INTO states VALUES (?, ?, ?, ?)",
                            "DELETE FROM states WHERE ns = ? AND name = ?", batch.states,
                            [](const RolloutKey& key) {
                              return Columns{key.ns, key.name};
                            }));
  RETURN_IF_ERROR(WriteRows(connection_, "INSERT INTO nodes VALUES (?, ?, ?)",
                            "DELETE FROM nodes WHERE name = ?", batch.nodes,
                            [](const std::string& name) { return Columns{name}; }));
  RETURN_IF_ERROR(WriteRows(connection_, "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)",
                            "DELETE FROM runs WHERE ns = ? AND rollout = ? AND id = ?", batch.runs,
                            [](const RunKey& key) {
                              return Columns{key.ns, key.rollout, key.id};
                            }));
  if (batch.generation) {
    RETURN_IF_ERROR(PutFact(connection_, kGeneration, std::to_string(batch.generation->number)));
    RETURN_IF_ERROR(PutFact(connection_, kDigest, batch.generation->digest));
  }
  return OkStatus();
}

Status SqliteStore::Commit(const Batch& batch) {
  if (batch.empty()) return OkStatus();
  if (const auto& mark = batch.generation) {
    bool forward = mark->number > generation_.number || *mark == generation_;
    if (!forward || mark->number > std::numeric_limits<int64_t>::max()) {
      return FailedPrecondition("generation {} (digest {}) cannot follow generation {} (digest {})",
                                mark->number, mark->digest, generation_.number, generation_.digest);
    }
  }
  std::string place = fmt::format("write state database {}", database_.string());
  RETURN_IF_ERROR(Annotate(connection_.Execute("BEGIN IMMEDIATE"), place));
  Status status = Write(batch);
  if (status.ok()) status = connection_.Execute("COMMIT");
  if (!status.ok()) {
    // SQLite may have rolled back by itself already (disk full, I/O error); then this one has nothing to do.
    (void)connection_.Execute("ROLLBACK");
    return Annotate(status, place);
  }
  if (batch.generation) generation_ = *batch.generation;
  return OkStatus();
}

}  // namespace

Result<std::unique_ptr<Store>> Store::Open(const fs::path& directory) {
  std::error_code error;
  if (!fs::exists(directory, error)) {
    if (mkdir(directory.c_str(), 0700) != 0) {
      return ErrnoStatus(errno, fmt::format("make state directory {}", directory.string()));
    }
  }
  FileDescriptor lock(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (lock.get() < 0) return ErrnoStatus(errno, fmt::format("open state directory {}", directory.string()));
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK)
      return ErrnoStatus(errno, fmt::format("lock state directory {}", directory.string()));
    return Error(
        absl::StatusCode::kUnavailable,
        "state directory {} is in use by another weir-controller: stop that one, or give another --state "
        "directory; nothing was changed",
        directory.string());
  }
  fs::path database = directory / "weir.db";
  bool exists = fs::exists(database, error);
  bool log_exists = fs::exists(database.string() + "-wal", error);
  if (exists) RETURN_IF_ERROR(CheckHeader(database));
  if (!exists && log_exists) return Damaged(database, "the file is missing but its weir.db-wal is there");
  if (faccessat(AT_FDCWD, directory.c_str(), W_OK | X_OK, AT_EACCESS) != 0 ||
      (exists && faccessat(AT_FDCWD, database.c_str(), W_OK, AT_EACCESS) != 0)) {
    return FailedPrecondition(
        "state directory {} cannot be written ({}): give this user write access, or give another --state "
        "directory; "
        "nothing was changed",
        directory.string(), std::strerror(errno));
  }
  if (!exists) RETURN_IF_ERROR(Annotate(Create(database, lock), fmt::format("make {}", database.string())));

  auto connection = Database::Open(database.string(), SQLITE_OPEN_READWRITE);
  RETURN_IF_ERROR(Annotate(connection.status(), fmt::format("open state database {}", database.string())));
  RETURN_IF_ERROR(CheckPages(*connection, database));
  Database* raw = &*connection;
  for (const char* statement : {"PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", kRunsTable}) {
    RETURN_IF_ERROR(
        Annotate(raw->Execute(statement), fmt::format("open state database {}", database.string())));
  }
  auto store = std::make_unique<SqliteStore>(std::move(lock), *std::move(connection), database);
  RETURN_IF_ERROR(store->Init());
  return store;
}

}  // namespace weir::store
