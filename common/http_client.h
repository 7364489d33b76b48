// An asynchronous HTTP/1.1 client for small answers: one connection per call, plain or TLS, a deadline for
// all of it, a bound on the answer. Redirects are not followed.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/status.h"
#include "common/url.h"

namespace weir {

struct HttpCall {
  std::string method = "GET";  // GET, POST or PUT
  Url url;
  std::vector<std::pair<std::string, std::string>> headers;  // later ones replace earlier ones
  std::string body;
  std::chrono::milliseconds timeout{10'000};  // of all: name, connection, handshake, answer
  size_t max_body = size_t{4} << 20;
  bool insecure = false;  // any certificate
  std::string ca_pem;     // who may sign the server's certificate; empty: the system's
};

struct HttpAnswer {
  unsigned status = 0;
  std::string body;
};

/// One thread (the io_context's) uses it.
class HttpClient {
 public:
  /// An answer of any status, or: DEADLINE_EXCEEDED after `timeout`; UNAVAILABLE no name, no connection, a
  /// bad certificate, or no HTTP; RESOURCE_EXHAUSTED an answer above `max_body`; INVALID_ARGUMENT a call that
  /// cannot be made; CANCELLED by Stop(). Errors name the server, never headers or body.
  using Done = std::function<void(Result<HttpAnswer>)>;

  explicit HttpClient(boost::asio::io_context& context);
  /// Stops.
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// `done` is called once, on the io_context's thread, never from within Call().
  void Call(HttpCall call, Done done);
  /// Ends every call with CANCELLED.
  void Stop();

  class Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace weir
