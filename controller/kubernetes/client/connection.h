// One connection to the API server, plain or TLS, for one exchange at a time.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/status.h"
#include "controller/kubernetes/client/access.h"

namespace weir::kubernetes {

/// What all connections to a server share.
struct Endpoint {
  Access access;
  std::shared_ptr<boost::asio::ssl::context> tls;  // null: plain
  std::string Name() const;                        // "https://10.96.0.1:443"
};

/// INVALID_ARGUMENT: certificates or keys that cannot be read.
Result<std::shared_ptr<const Endpoint>> MakeEndpoint(Access access);

struct Answer {
  unsigned status = 0;
  std::string body;
  std::string retry_after;  // the header
  bool keep_alive = false;
};

/// The io_context's thread. It lives as long as an operation is under way; after Close() no handler is
/// called.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using HttpRequest = boost::beast::http::request<boost::beast::http::string_body>;

  Connection(boost::asio::io_context& context, std::shared_ptr<const Endpoint> endpoint);

  /// UNAVAILABLE: no name, no connection, a bad certificate, or all that not within the timeout.
  void Open(std::chrono::milliseconds timeout, std::function<void(Status)> done);

  /// UNAVAILABLE: the connection ended before the answer; RESOURCE_EXHAUSTED: a longer body. `untouched`: it
  /// ended before a byte of the answer came.
  void Ask(HttpRequest request, size_t max_body, std::function<void(Result<Answer>, bool untouched)> done);

  struct StreamHandler {
    /// The header is there; its body is empty yet. False: what follows is gathered and given to on_refused.
    std::function<bool(unsigned status)> on_header;
    std::function<void(std::string_view)> on_data;
    std::function<void(Answer)> on_refused;
    std::function<void(Status)> on_end;  // OK: the body is whole
  };
  void AskStream(HttpRequest request, StreamHandler handler);

  /// Nothing has come in since the last answer: the peer has not closed it.
  bool Usable();
  /// Handlers under way are dropped.
  void Close();

 private:
  using Parser = boost::beast::http::response_parser<boost::beast::http::string_body>;
  using Error = boost::beast::error_code;

  boost::beast::tcp_stream& Lowest();
  template <typename Use>
  void WithStream(const Use& use);
  void Connect(const boost::asio::ip::tcp::resolver::results_type& found);
  void Handshake();
  void Opened(const Status& status);
  Status Trouble(std::string_view what, const Error& error) const;
  Status TlsTrouble(const Error& error);
  void Write(HttpRequest request, std::function<void(const Error&)> then);
  void OnAnswer(const Error& error);
  void ReadHeader();
  void ReadSome();
  void OnSome(const Error& error);
  void Refused();
  void EndStream(const Status& status);

  std::shared_ptr<const Endpoint> endpoint_;
  boost::asio::ip::tcp::resolver resolver_;
  boost::beast::tcp_stream plain_;
  std::optional<boost::beast::ssl_stream<boost::beast::tcp_stream>> secure_;
  boost::beast::flat_buffer buffer_;
  HttpRequest request_;
  std::optional<Parser> parser_;
  std::function<void(Status)> on_open_;
  std::function<void(Result<Answer>, bool)> on_answer_;
  StreamHandler stream_;
  bool closed_ = false;
};

}  // namespace weir::kubernetes
