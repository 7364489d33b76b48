// RAII around the few calls of SQLite that the store needs. Errors carry SQLite's text and code. Not
// thread-safe: a connection and its statements belong to one thread.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/status.h"

namespace weir::store {

/// A prepared statement. Bind from index 1, Step until kDone, read columns from index 0.
class Statement {
 public:
  enum class Row : uint8_t { kRow, kDone };

  void Bind(int index, std::string_view text);
  void Bind(int index, int64_t value);
  /// One row further; an error leaves the statement reset.
  Result<Row> Step();
  /// Runs a statement that yields no rows, then resets it for the next use.
  Status Run();
  void Reset();
  std::string Text(int column) const;
  int64_t Integer(int column) const;

 private:
  friend class Database;
  struct Finalizer {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}
  std::unique_ptr<sqlite3_stmt, Finalizer> statement_;
};

/// A connection. Closing it does not checkpoint unless CheckpointOnClose(true) was called.
class Database {
 public:
  /// `flags`: SQLITE_OPEN_*. The busy timeout is one second.
  static Result<Database> Open(const std::string& path, int flags);

  Result<Statement> Prepare(std::string_view sql) const;
  /// Runs one or more statements whose rows do not matter.
  Status Execute(const std::string& sql) const;
  void CheckpointOnClose(bool enabled) const;
  bool IsReadOnly() const { return sqlite3_db_readonly(connection_.get(), "main") == 1; }

 private:
  struct Closer {
    void operator()(sqlite3* connection) const { sqlite3_close_v2(connection); }
  };
  explicit Database(sqlite3* connection) : connection_(connection) {}
  std::unique_ptr<sqlite3, Closer> connection_;
};

}  // namespace weir::store
