// Errors as values: Result<T> is absl::StatusOr<T>; codes map 1:1 to gRPC's.
//
// Debian's absl is built with its own string_view, so std::string_view does not convert to it; the few
// places where both meet go through the helpers here.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <fmt/format.h>

#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace weir {

using Status = absl::Status;
template <typename T>
using Result = absl::StatusOr<T>;

inline absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view FromAbsl(absl::string_view text) { return {text.data(), text.size()}; }

inline Status OkStatus() { return absl::OkStatus(); }

/// An error with a formatted message: Error(absl::StatusCode::kNotFound, "no rollout {}", name).
template <typename... Args>
Status Error(absl::StatusCode code, fmt::format_string<Args...> format, Args&&... args) {
  return Status(code, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
Status InvalidArgument(fmt::format_string<Args...> format, Args&&... args) {
  return Error(absl::StatusCode::kInvalidArgument, format, std::forward<Args>(args)...);
}
template <typename... Args>
Status NotFound(fmt::format_string<Args...> format, Args&&... args) {
  return Error(absl::StatusCode::kNotFound, format, std::forward<Args>(args)...);
}
template <typename... Args>
Status FailedPrecondition(fmt::format_string<Args...> format, Args&&... args) {
  return Error(absl::StatusCode::kFailedPrecondition, format, std::forward<Args>(args)...);
}

/// "what: strerror(error_number)" under the absl code that fits the errno.
inline Status ErrnoStatus(int error_number, std::string_view what) {
  return absl::ErrnoToStatus(error_number, ToAbsl(what));
}

/// Puts context before the message, keeping the code: "attach connect4: EPERM".
inline Status Annotate(const Status& status, std::string_view context) {
  if (status.ok()) return status;
  return Status(status.code(), fmt::format("{}: {}", context, FromAbsl(status.message())));
}

inline std::string Message(const Status& status) { return std::string(FromAbsl(status.message())); }

}  // namespace weir

#define WEIR_CONCAT_INNER(a, b) a##b
#define WEIR_CONCAT(a, b) WEIR_CONCAT_INNER(a, b)

#define RETURN_IF_ERROR(expression)                                                \
  do {                                                                             \
    if (auto weir_status_ = (expression); !weir_status_.ok()) return weir_status_; \
  } while (false)

#define ASSIGN_OR_RETURN(declaration, expression) \
  ASSIGN_OR_RETURN_IMPL(WEIR_CONCAT(weir_result_, __LINE__), declaration, expression)
#define ASSIGN_OR_RETURN_IMPL(result, declaration, expression) \
  auto result = (expression);                                  \
  if (!result.ok()) return result.status();                    \
  declaration = *std::move(result)
