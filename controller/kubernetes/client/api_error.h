// What the API server says when it does not do what it was asked: HTTP statuses and metav1.Status to codes.
// Pure.
#pragma once

#include <boost/json.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "common/status.h"

namespace weir::kubernetes {

/// | HTTP | code |
/// | 400, 422 | INVALID_ARGUMENT |
/// | 401 | UNAUTHENTICATED |
/// | 403 | PERMISSION_DENIED; the server's message names user, verb and resource |
/// | 404 | NOT_FOUND |
/// | 405, 406, 415 | UNIMPLEMENTED |
/// | 409 | ALREADY_EXISTS for reason AlreadyExists, else ABORTED: somebody was faster, read again |
/// | 410 | OUT_OF_RANGE: a resourceVersion or continue token that is too old; list again |
/// | 413, 429 | RESOURCE_EXHAUSTED |
/// | 5xx | UNAVAILABLE |
/// `what` is the request ("GET /api/v1/pods"), `body` the answer's: a metav1.Status, or anything.
/// https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#http-status-codes
Status ApiError(std::string_view what, unsigned http_status, const boost::json::value& body,
                std::chrono::seconds retry_after = std::chrono::seconds(0));

/// The HTTP status that such an error came of; 0 for every other error.
unsigned HttpStatusOf(const Status& status);
/// The reason of its metav1.Status ("Conflict", "AlreadyExists", "Expired"); empty for every other error.
std::string ReasonOf(const Status& status);

/// How long the server asked to be left alone; 0 where it did not say.
std::chrono::seconds RetryAfterOf(const Status& status);

/// Retry-After: seconds or a date (RFC 9110, 10.2.3); nullopt for anything else. `now` is the wall clock's.
std::optional<std::chrono::seconds> ParseRetryAfter(std::string_view header,
                                                    std::chrono::system_clock::time_point now);

}  // namespace weir::kubernetes
