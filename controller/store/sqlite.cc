#include "controller/store/sqlite.h"

namespace weir::store {
namespace {

Status SqliteError(sqlite3* connection, int code) {
  const char* text = connection != nullptr ? sqlite3_errmsg(connection) : sqlite3_errstr(code);
  absl::StatusCode status = absl::StatusCode::kUnavailable;
  switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      status = absl::StatusCode::kDataLoss;
      break;
    case SQLITE_FULL:
      status = absl::StatusCode::kResourceExhausted;
      break;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
      status = absl::StatusCode::kFailedPrecondition;
      break;
    default:
      break;
  }
  return Error(status, "SQLite: {} (code {})", text, code);
}

}  // namespace

void Statement::Bind(int index, std::string_view text) {
  // A null pointer would bind NULL, also for an empty text.
  const char* data = text.empty() ? "" : text.data();
  sqlite3_bind_text64(statement_.get(), index, data, text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
}

void Statement::Bind(int index, int64_t value) { sqlite3_bind_int64(statement_.get(), index, value); }

Result<Statement::Row> Statement::Step() {
  int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return Row::kRow;
  if (code == SQLITE_DONE) return Row::kDone;
  Status status = SqliteError(sqlite3_db_handle(statement_.get()), code);
  Reset();
  return status;
}

Status Statement::Run() {
  auto row = Step();
  RETURN_IF_ERROR(row.status());
  Reset();
  return OkStatus();
}

void Statement::Reset() {
  sqlite3_reset(statement_.get());
  sqlite3_clear_bindings(statement_.get());
}

std::string Statement::Text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_.get(), column));
  if (text == nullptr) return {};
  return {text, static_cast<size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

int64_t Statement::Integer(int column) const { return sqlite3_column_int64(statement_.get(), column); }

Result<Database> Database::Open(const std::string& path, int flags) {
  sqlite3* connection = nullptr;
  int code = sqlite3_open_v2(path.c_str(), &connection, flags | SQLITE_OPEN_EXRESCODE, nullptr);
  Database database(connection);
  if (code != SQLITE_OK) return SqliteError(connection, code);
  sqlite3_busy_timeout(connection, 1000);
  database.CheckpointOnClose(false);
  return database;
}

Result<Statement> Database::Prepare(std::string_view sql) const {
  sqlite3_stmt* statement = nullptr;
  int code =
      sqlite3_prepare_v2(connection_.get(), sql.data(), static_cast<int>(sql.size()), &statement, nullptr);
  if (code != SQLITE_OK) return SqliteError(connection_.get(), code);
  return Statement(statement);
}

Status Database::Execute(const std::string& sql) const {
  int code = sqlite3_exec(connection_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return SqliteError(connection_.get(), code);
  return OkStatus();
}

void Database::CheckpointOnClose(bool enabled) const {
  sqlite3_db_config(connection_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, enabled ? 0 : 1, nullptr);
}

}  // namespace weir::store
