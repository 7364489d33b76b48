// A small HTTP/1.1 server for metrics, health and static pages: GET and HEAD, path -> handler, on an
// io_context.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "common/status.h"
#include "common/tls_files.h"

namespace weir {

struct HttpRequest {
  std::string path;    // "/metrics"; as sent, not percent-decoded
  std::string query;   // what follows the ?, without it
  std::string accept;  // the Accept header, its lines joined with commas; empty: none
};

struct HttpResponse {
  unsigned status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  /// Unless empty: given the body when it has been written, to use its memory again. Not called for a body
  /// that could not be written, and maybe never; on the io_context's thread.
  std::function<void(std::string)> sent = nullptr;
};

/// Called on the io_context's thread; must not block. An error answer is a response, not an exception.
using HttpHandler = std::function<HttpResponse(const HttpRequest&)>;

/// One thread (the io_context's) uses it. Plain HTTP on loopback; off loopback HTTPS when the flags name a
/// certificate (client certificates are not asked for), plain with --insecure, else Listen() refuses.
/// Unknown path: 404; other methods: 405; a request larger than the limits: 431 or 413; an idle or slow
/// connection is closed after `timeout`; connections above `max_connections` are closed at once.
class HttpServer {
 public:
  struct Options {
    std::string flag = "--http";  // names the place in errors
    std::string listen;           // HOST:PORT, HOST an IP address or localhost; port 0: any free one
    std::shared_ptr<const TlsFiles> tls = nullptr;  // each handshake takes what is in force; null: no flags
    std::chrono::milliseconds timeout{10'000};
    size_t max_connections = 128;
    size_t max_header_bytes = 8192;
  };

  /// Listens; connections are served while the io_context runs. Errors name the address and the remedy.
  static Result<std::unique_ptr<HttpServer>> Listen(boost::asio::io_context& context, const Options& options);
  /// Stops.
  ~HttpServer();

  /// Exact match of the path. Replaces an earlier handler.
  void Handle(std::string path, HttpHandler handler);
  /// Every path below `prefix` ("/api/") that has no exact match; the longest prefix wins.
  void HandlePrefix(std::string prefix, HttpHandler handler);

  /// "127.0.0.1:43210": with the port in use.
  std::string address() const;
  uint16_t port() const;
  /// Closes the listener and every connection. May be called again.
  void Stop();

  class Impl;

 private:
  explicit HttpServer(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace weir
