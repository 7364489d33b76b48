#include "controller/kubernetes/client/api_error.h"

#include <absl/strings/cord.h>

#include <algorithm>
#include <charconv>
#include <ctime>
#include <sstream>

#include "controller/kubernetes/client/resource.h"

namespace weir::kubernetes {
namespace {

constexpr absl::string_view kPayload = "weir.dev/kubernetes-status";
constexpr size_t kMaxMessage = 1024;

/// What errors carry beside their text: "409 0 Conflict".
struct Carried {
  unsigned http_status = 0;
  int64_t retry_after = 0;
  std::string reason;
};

absl::StatusCode CodeOf(unsigned http_status, std::string_view reason) {
  switch (http_status) {
    case 400:
    case 422:
      return absl::StatusCode::kInvalidArgument;
    case 401:
      return absl::StatusCode::kUnauthenticated;
    case 403:
      return absl::StatusCode::kPermissionDenied;
    case 404:
      return absl::StatusCode::kNotFound;
    case 405:
    case 406:
    case 415:
      return absl::StatusCode::kUnimplemented;
    case 409:
      return reason == "AlreadyExists" ? absl::StatusCode::kAlreadyExists : absl::StatusCode::kAborted;
    case 410:
      return absl::StatusCode::kOutOfRange;
    case 413:
    case 429:
      return absl::StatusCode::kResourceExhausted;
    default:
      return http_status >= 500 ? absl::StatusCode::kUnavailable : absl::StatusCode::kUnknown;
  }
}

Carried CarriedBy(const Status& status) {
  Carried carried;
  if (const auto payload = status.GetPayload(kPayload))
    std::istringstream(std::string(*payload)) >> carried.http_status >> carried.retry_after >> carried.reason;
  return carried;
}

/// IMF-fixdate: "Sun, 06 Nov 1994 08:49:37 GMT".
std::optional<std::chrono::system_clock::time_point> ParseHttpDate(const std::string& text) {
  std::tm parts{};
  const char* end = ::strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  if (end == nullptr || *end != '\0') return std::nullopt;
  return std::chrono::system_clock::from_time_t(::timegm(&parts));
}

}  // namespace

Status ApiError(std::string_view what, unsigned http_status, const boost::json::value& body,
                std::chrono::seconds retry_after) {
  const bool is_status = Text(body, {"kind"}) == "Status";
  const std::string_view reason = is_status ? Text(body, {"reason"}) : "";
  // Anything but a Status is some proxy's page, which says nothing to people.
  const std::string_view message = is_status ? Text(body, {"message"}).substr(0, kMaxMessage) : "";
  std::string text = fmt::format("{}: {}", what, http_status);
  if (!reason.empty()) text += fmt::format(" {}", reason);
  if (!message.empty()) text += fmt::format(": {}", message);
  Status status(CodeOf(http_status, reason), text);
  status.SetPayload(kPayload, absl::Cord(fmt::format("{} {} {}", http_status, retry_after.count(), reason)));
  return status;
}

unsigned HttpStatusOf(const Status& status) { return CarriedBy(status).http_status; }
std::string ReasonOf(const Status& status) { return CarriedBy(status).reason; }
std::chrono::seconds RetryAfterOf(const Status& status) {
  return std::chrono::seconds(CarriedBy(status).retry_after);
}

std::optional<std::chrono::seconds> ParseRetryAfter(std::string_view header,
                                                    std::chrono::system_clock::time_point now) {
  uint32_t seconds = 0;
  const auto [end, error] = std::from_chars(header.data(), header.data() + header.size(), seconds);
  if (error == std::errc() && end == header.data() + header.size()) return std::chrono::seconds(seconds);
  const auto date = ParseHttpDate(std::string(header));
  if (!date) return std::nullopt;
  return std::max(std::chrono::ceil<std::chrono::seconds>(*date - now), std::chrono::seconds(0));
}

}  // namespace weir::kubernetes
