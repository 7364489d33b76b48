#include "common/http.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <map>
#include <optional>
#include <set>

#include "common/log.h"
#include "common/version.h"

namespace weir {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using tcp = asio::ip::tcp;

/// A connection as the listener sees it.
class Session {
 public:
  virtual ~Session() = default;
  virtual void Start() = 0;
  virtual void Close() = 0;
};

}  // namespace

class HttpServer::Impl : public std::enable_shared_from_this<HttpServer::Impl> {
 public:
  /// HttpResponse as Beast writes it.
  struct Reply {
    http::response<http::string_body> response;
    std::function<void(std::string)> sent;
  };

  Impl(asio::io_context& context, Options opts)
      : options(std::move(opts)), acceptor_(context), retry_(context) {}

  Status Open(const HostPort& listen);
  void Accept();
  void Stop();
  Reply Answer(const http::request<http::empty_body>& request) const;

  Options options;
  std::map<std::string, HttpHandler, std::less<>> exact, prefixes;
  std::set<std::shared_ptr<Session>> sessions;
  tcp::endpoint local;

 private:
  HttpResponse Dispatch(const HttpRequest& request) const;
  void OnAccept(const beast::error_code& error, tcp::socket socket);

  tcp::acceptor acceptor_;
  asio::steady_timer retry_;
  bool secure_ = false;
  bool stopped_ = false;
};

namespace {

/// One connection. Keeps itself alive through its handlers; the listener's set is for Close and the limit.
template <typename Stream>
class Connection final : public Session, public std::enable_shared_from_this<Connection<Stream>> {
 public:
  template <typename... Args>
  Connection(std::shared_ptr<HttpServer::Impl> server, Args&&... args)
      : server_(std::move(server)), stream_(std::forward<Args>(args)...) {}

  void Start() override {
    if constexpr (kTls) {
      Arm();
      stream_.async_handshake(asio::ssl::stream_base::server,
                              [self = this->shared_from_this()](beast::error_code error) {
                                error ? self->Finish() : self->Read();
                              });
    } else {
      Read();
    }
  }

  void Close() override { beast::get_lowest_layer(stream_).close(); }

 private:
  using Reply = HttpServer::Impl::Reply;
  static constexpr bool kTls = !std::is_same_v<Stream, beast::tcp_stream>;

  void Arm() { beast::get_lowest_layer(stream_).expires_after(server_->options.timeout); }

  void Read() {
    parser_.emplace();
    parser_->header_limit(static_cast<uint32_t>(server_->options.max_header_bytes));
    parser_->body_limit(0);
    Arm();
    http::async_read(
        stream_, buffer_, *parser_,
        [self = this->shared_from_this()](beast::error_code error, size_t) { self->OnRead(error); });
  }

  void OnRead(beast::error_code error) {
    if (!error) return Write(server_->Answer(parser_->get()));
    if (error == http::error::header_limit) {
      return Refuse(http::status::request_header_fields_too_large, "request header too large\n");
    }
    if (error == http::error::body_limit || error == http::error::unexpected_body) {
      return Refuse(http::status::payload_too_large, "a request here has no body\n");
    }
    if (error.category() == make_error_code(http::error::bad_method).category() &&
        error != http::error::end_of_stream && error != http::error::partial_message) {
      return Refuse(http::status::bad_request, "not an HTTP/1.1 request\n");
    }
    Finish();
  }

  void Refuse(http::status status, const char* text) {
    Reply reply{.response = {status, 11}, .sent = {}};
    reply.response.set(http::field::content_type, "text/plain; charset=utf-8");
    reply.response.body() = text;
    reply.response.keep_alive(false);
    reply.response.prepare_payload();
    Write(std::move(reply));
  }

  void Write(Reply reply) {
    reply_.emplace(std::move(reply));
    Arm();
    http::async_write(
        stream_, reply_->response,
        [self = this->shared_from_this()](beast::error_code error, size_t) { self->OnWritten(error); });
  }

  void OnWritten(beast::error_code error) {
    if (error) return Finish();
    Reply reply = *std::exchange(reply_, std::nullopt);
    if (reply.sent) reply.sent(std::move(reply.response.body()));
    if (reply.response.need_eof()) return Finish();
    Read();
  }

  void Finish() {
    beast::error_code ignored;  // the peer may be gone already
    beast::get_lowest_layer(stream_).socket().shutdown(tcp::socket::shutdown_send, ignored);
    beast::get_lowest_layer(stream_).close();
    server_->sessions.erase(this->shared_from_this());
  }

  std::shared_ptr<HttpServer::Impl> server_;
  Stream stream_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::empty_body>> parser_;
  std::optional<Reply> reply_;
};

Result<tcp::endpoint> ResolveListen(std::string_view flag, const HostPort& listen) {
  if (listen.unix_socket)
    return InvalidArgument("{} {}: HTTP listens on HOST:PORT only", flag, listen.ToString());
  beast::error_code error;
  const auto address = asio::ip::make_address(listen.host == "localhost" ? "127.0.0.1" : listen.host, error);
  if (error) {
    return InvalidArgument(
        "{} {}: {:?} is not an IP address; expected one of this machine's, such as 127.0.0.1", flag,
        listen.ToString(), listen.host);
  }
  return tcp::endpoint(address, listen.port);
}

}  // namespace

Status HttpServer::Impl::Open(const HostPort& listen) {
  ASSIGN_OR_RETURN(const tcp::endpoint endpoint, ResolveListen(options.flag, listen));
  beast::error_code error;
  const auto fail = [&](std::string_view what) {
    return ErrnoStatus(error.value(), fmt::format("{} {}: cannot {}", options.flag, listen.ToString(), what));
  };
  secure_ = !listen.is_loopback() && options.tls != nullptr && options.tls->flags().server_tls();
  acceptor_.open(endpoint.protocol(), error);
  if (error) return fail("open a socket");
  acceptor_.set_option(asio::socket_base::reuse_address(true), error);
  if (error) return fail("set SO_REUSEADDR");
  acceptor_.bind(endpoint, error);
  if (error) return fail("bind (is another program using it? port 0 takes any free one)");
  acceptor_.listen(asio::socket_base::max_listen_connections, error);
  if (error) return fail("listen");
  local = acceptor_.local_endpoint(error);
  if (error) return fail("read the bound address");
  return OkStatus();
}

void HttpServer::Impl::Accept() {
  acceptor_.async_accept([self = shared_from_this()](beast::error_code error, tcp::socket socket) {
    self->OnAccept(error, std::move(socket));
  });
}

void HttpServer::Impl::OnAccept(const beast::error_code& error, tcp::socket socket) {
  if (stopped_) return;
  if (error) {
    // Out of descriptors, or the peer left: try again a little later rather than in a tight loop.
    LogWarn("accept failed", {{"listener", options.flag}, {"error", error.message()}});
    retry_.expires_after(std::chrono::milliseconds(100));
    retry_.async_wait([self = shared_from_this()](beast::error_code cancelled) {
      if (!cancelled && !self->stopped_) self->Accept();
    });
    return;
  }
  if (sessions.size() < options.max_connections) {
    std::shared_ptr<Session> session;
    if (secure_) {
      // OpenSSL's connection keeps what it needs of the context, which may be replaced meanwhile.
      session = std::make_shared<Connection<beast::ssl_stream<beast::tcp_stream>>>(
          shared_from_this(), std::move(socket), *options.tls->contents()->server);
    } else {
      session = std::make_shared<Connection<beast::tcp_stream>>(shared_from_this(), std::move(socket));
    }
    sessions.insert(session);
    session->Start();
  }
  Accept();
}

HttpResponse HttpServer::Impl::Dispatch(const HttpRequest& request) const {
  if (const auto found = exact.find(request.path); found != exact.end()) return found->second(request);
  const HttpHandler* longest = nullptr;
  for (const auto& [prefix, handler] : prefixes) {  // in order: a longer match comes after a shorter one
    if (request.path.starts_with(prefix)) longest = &handler;
  }
  if (longest != nullptr) return (*longest)(request);
  return {.status = 404, .body = "no such page\n"};
}

HttpServer::Impl::Reply HttpServer::Impl::Answer(const http::request<http::empty_body>& request) const {
  HttpResponse answer;
  const bool known_method = request.method() == http::verb::get || request.method() == http::verb::head;
  if (known_method) {
    const std::string_view target(request.target().data(), request.target().size());
    const size_t mark = target.find('?');
    HttpRequest plain;
    plain.path = target.substr(0, mark);
    if (mark != std::string_view::npos) plain.query = target.substr(mark + 1);
    const auto [first, last] = request.equal_range(http::field::accept);
    for (auto field = first; field != last; ++field) {
      if (!plain.accept.empty()) plain.accept += ',';
      plain.accept.append(field->value().data(), field->value().size());
    }
    answer = Dispatch(plain);
  } else {
    answer = {.status = 405, .body = "only GET and HEAD\n"};
  }
  http::response<http::string_body> response(static_cast<http::status>(answer.status), request.version());
  response.set(http::field::server, fmt::format("weir/{}", kVersion));
  response.set(http::field::content_type, answer.content_type);
  response.set(http::field::cache_control, "no-store");
  response.set("X-Content-Type-Options", "nosniff");
  if (!known_method) response.set(http::field::allow, "GET, HEAD");
  response.keep_alive(request.keep_alive());
  response.body() = std::move(answer.body);
  response.prepare_payload();
  if (request.method() == http::verb::head) response.body().clear();  // Content-Length stays
  return {.response = std::move(response), .sent = std::move(answer.sent)};
}

void HttpServer::Impl::Stop() {
  if (std::exchange(stopped_, true)) return;
  beast::error_code ignored;
  acceptor_.close(ignored);
  retry_.cancel();
  for (const auto& session : std::set<std::shared_ptr<Session>>(sessions)) session->Close();
  sessions.clear();
  exact.clear();
  prefixes.clear();
}

Result<std::unique_ptr<HttpServer>> HttpServer::Listen(asio::io_context& context, const Options& options) {
  ASSIGN_OR_RETURN(const HostPort listen, ParseHostPort(options.flag, options.listen));
  RETURN_IF_ERROR(
      CheckListener(options.flag, listen, options.tls != nullptr ? options.tls->flags() : TlsFlags{}));
  auto impl = std::make_shared<Impl>(context, options);
  RETURN_IF_ERROR(impl->Open(listen));
  impl->Accept();
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() { Stop(); }

void HttpServer::Handle(std::string path, HttpHandler handler) {
  impl_->exact[std::move(path)] = std::move(handler);
}
void HttpServer::HandlePrefix(std::string prefix, HttpHandler handler) {
  impl_->prefixes[std::move(prefix)] = std::move(handler);
}

std::string HttpServer::address() const {
  return HostPort{impl_->local.address().to_string(), impl_->local.port()}.ToString();
}
uint16_t HttpServer::port() const { return impl_->local.port(); }
void HttpServer::Stop() { impl_->Stop(); }

}  // namespace weir
