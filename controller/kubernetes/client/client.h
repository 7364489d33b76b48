// Requests to one API server over HTTP/1.1 and TLS: connections kept alive and bounded in number, answers as
// JSON, errors as codes (api_error.h).
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/json.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "common/backoff.h"
#include "common/clock.h"
#include "common/status.h"
#include "controller/kubernetes/client/access.h"
#include "controller/kubernetes/client/request.h"

namespace weir::kubernetes {

struct Response {
  unsigned status = 0;  // 2xx
  boost::json::value body;
};

struct ClientOptions {
  size_t max_connections = 8;  // of requests; each stream has one of its own
  size_t max_waiting = 4096;   // requests that wait for a connection
  size_t max_body = size_t{64} << 20;
  std::chrono::milliseconds idle{60'000};             // a connection unused for longer is closed
  std::chrono::milliseconds connect_timeout{10'000};  // of name, connection and handshake
};

/// Counted since the start.
struct ClientCounters {
  uint64_t requests = 0;     // sent, each repetition too
  uint64_t errors = 0;       // answered to the caller with an error
  uint64_t connections = 0;  // opened
  uint64_t stale = 0;        // kept-alive connections that turned out to be closed
  uint64_t throttled = 0;    // answers with Retry-After that were waited for
};

/// All but Call() on the io_context's thread, which must be one. Answers come there too, never from within
/// the call that asked.
class Client {
 public:
  /// A 2xx answer, or an error: those of ApiError; DEADLINE_EXCEEDED after the request's timeout; UNAVAILABLE
  /// no connection, a bad certificate, a connection that ended before the answer did (a request that is not
  /// idempotent may have been carried out then); RESOURCE_EXHAUSTED too much at once or too long an answer;
  /// CANCELLED by Stop().
  using Done = std::function<void(Result<Response>)>;

  /// INVALID_ARGUMENT: certificates or keys that cannot be read.
  static Result<std::unique_ptr<Client>> Create(boost::asio::io_context& context, Access access,
                                                const ClientOptions& options = {},
                                                const Clock* clock = nullptr);
  /// Stops.
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// A 429 or 503 with Retry-After is waited for and asked again while the timeout allows; a 401 is asked
  /// again once if the token's file holds another one; a connection that was kept alive and is found closed
  /// is replaced once, for idempotent requests.
  void Send(ApiRequest request, Done done);

  /// The same, spelt out.
  void Request(Method method, std::string target, std::string body, std::string_view content_type,
               std::chrono::milliseconds timeout, Done done);

  /// Sends it and waits for the answer, at most request.timeout: from any thread but the io_context's, whose
  /// run() must be under way. FAILED_PRECONDITION on that thread, where it would wait for itself. After
  /// DEADLINE_EXCEEDED it is not known whether the request was carried out.
  Result<Response> Call(ApiRequest request);

  /// An answer without an end: a watch.
  struct StreamHandler {
    std::function<void()> on_open;                  // the answer has begun, with 200
    std::function<void(std::string_view)> on_data;  // the next bytes of its body
    std::function<void(Status)> on_end;             // once, last: OK when the server ended it, else as Done
  };
  /// Ends its stream, without on_end, when it goes. Stream and Client may go in any order.
  class Stream {
   public:
    virtual ~Stream() = default;
  };
  /// request.timeout: until the answer begins; `total`: of all, which ends in DEADLINE_EXCEEDED then. A peer
  /// that is gone without a word is noticed within half a minute (TCP keep-alive).
  std::unique_ptr<Stream> OpenStream(ApiRequest request, std::chrono::milliseconds total,
                                     StreamHandler handler);

  /// Ends everything with CANCELLED; further requests too.
  void Stop();

  boost::asio::io_context& context();
  const Access& access() const;
  const Clock& clock() const;
  const ClientCounters& counters() const;

  class Impl;

 private:
  explicit Client(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace weir::kubernetes
