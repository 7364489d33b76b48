#include "controller/kubernetes/client/connection.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace weir::kubernetes {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

constexpr uint32_t kMaxHeader = 64U << 10U;
/// Of an answer that is an error instead of a stream.
constexpr size_t kMaxRefusal = size_t{1} << 20;

Status BadPem(std::string_view what, const Access& access, const beast::error_code& error) {
  return InvalidArgument("{}: {}: found no PEM that can be used: {}", access.origin, what, error.message());
}

/// A peer that is gone without a word, such as a node that lost its power, is noticed while a watch is
/// silent.
void NoticeDeadPeer(int socket) {
  const auto set = [socket](int level, int name, int value) {
    // Only an unknown option could fail here, and then the watch's own end is what notices.
    ::setsockopt(socket, level, name, &value, sizeof(value));
  };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 15);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, 30'000);
  set(IPPROTO_TCP, TCP_NODELAY, 1);
}

std::string RetryAfter(const http::response<http::string_body>& answer) {
  const auto found = answer.find(http::field::retry_after);
  return found == answer.end() ? "" : std::string(found->value());
}

}  // namespace

std::string Endpoint::Name() const {
  return fmt::format("{}://{}", access.server.https ? "https" : "http", access.server.authority());
}

Result<std::shared_ptr<const Endpoint>> MakeEndpoint(Access access) {
  auto endpoint = std::make_shared<Endpoint>();
  endpoint->access = std::move(access);
  const Access& of = endpoint->access;
  if (!of.server.https) return endpoint;
  auto tls = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_client);
  tls->set_options(asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1);
  tls->set_verify_mode(of.insecure ? asio::ssl::verify_none : asio::ssl::verify_peer);
  beast::error_code error;
  if (!of.ca_pem.empty()) {
    tls->add_certificate_authority(asio::buffer(of.ca_pem), error);
    if (error) return BadPem("the server's CA", of, error);
  } else if (!of.insecure) {
    tls->set_default_verify_paths(error);
    if (error) return BadPem("the system's CA certificates", of, error);
  }
  if (!of.client_cert_pem.empty()) {
    tls->use_certificate_chain(asio::buffer(of.client_cert_pem), error);
    if (error) return BadPem("the client certificate", of, error);
    tls->use_private_key(asio::buffer(of.client_key_pem), asio::ssl::context::pem, error);
    if (error) return BadPem("the client key", of, error);
    if (SSL_CTX_check_private_key(tls->native_handle()) != 1)
      return InvalidArgument("{}: the client key does not belong to the client certificate", of.origin);
  }
  endpoint->tls = std::move(tls);
  return endpoint;
}

Connection::Connection(asio::io_context& context, std::shared_ptr<const Endpoint> endpoint)
    : endpoint_(std::move(endpoint)), resolver_(context), plain_(context) {}

beast::tcp_stream& Connection::Lowest() { return secure_ ? beast::get_lowest_layer(*secure_) : plain_; }

template <typename Use>
void Connection::WithStream(const Use& use) {
  secure_ ? use(*secure_) : use(plain_);
}

Status Connection::Trouble(std::string_view what, const Error& error) const {
  return weir::Error(absl::StatusCode::kUnavailable, "{}: {}: {}", endpoint_->Name(), what, error.message());
}

/// A certificate that is not trusted is told as such: X509_verify_cert_error_string(3).
Status Connection::TlsTrouble(const Error& error) {
  const long verified = SSL_get_verify_result(secure_->native_handle());
  if (endpoint_->access.insecure || verified == X509_V_OK) return Trouble("no TLS", error);
  return weir::Error(absl::StatusCode::kUnavailable, "{}: no TLS: certificate verify failed: {}",
                     endpoint_->Name(), X509_verify_cert_error_string(verified));
}

void Connection::Open(std::chrono::milliseconds timeout, std::function<void(Status)> done) {
  on_open_ = std::move(done);
  plain_.expires_after(timeout);
  const Url& server = endpoint_->access.server;
  resolver_.async_resolve(
      server.host, std::to_string(server.port), asio::ip::tcp::resolver::numeric_service,
      [self = shared_from_this()](const Error& error, const asio::ip::tcp::resolver::results_type& found) {
        if (error) return self->Opened(self->Trouble("cannot find its address", error));
        self->Connect(found);
      });
}

void Connection::Connect(const asio::ip::tcp::resolver::results_type& found) {
  if (closed_) return;
  if (endpoint_->tls) secure_.emplace(std::move(plain_), *endpoint_->tls);
  Lowest().async_connect(found,
                         [self = shared_from_this()](const Error& error, const asio::ip::tcp::endpoint&) {
                           if (error) return self->Opened(self->Trouble("cannot connect", error));
                           if (self->closed_) return;
                           NoticeDeadPeer(self->Lowest().socket().native_handle());
                           self->secure_ ? self->Handshake() : self->Opened(OkStatus());
                         });
}

void Connection::Handshake() {
  const Access& access = endpoint_->access;
  const std::string& name = access.tls_server_name.empty() ? access.server.host : access.tls_server_name;
  beast::error_code not_an_address;
  asio::ip::make_address(name, not_an_address);
  if (not_an_address && SSL_set_tlsext_host_name(secure_->native_handle(), name.c_str()) != 1)
    return Opened(InvalidArgument("{}: {:?} does not fit a TLS handshake", endpoint_->Name(), name));
  if (!access.insecure) secure_->set_verify_callback(asio::ssl::host_name_verification(name));
  secure_->async_handshake(asio::ssl::stream_base::client, [self = shared_from_this()](const Error& error) {
    self->Opened(error ? self->TlsTrouble(error) : OkStatus());
  });
}

void Connection::Opened(const Status& status) {
  if (closed_) return;
  Lowest().expires_never();
  const auto done = std::exchange(on_open_, nullptr);
  done(status);
}

void Connection::Write(HttpRequest request, std::function<void(const Error&)> then) {
  request_ = std::move(request);
  parser_.emplace();
  parser_->header_limit(kMaxHeader);
  WithStream([&](auto& stream) {
    http::async_write(stream, request_,
                      [self = shared_from_this(), then = std::move(then)](const Error& error, size_t) {
                        if (!self->closed_) then(error);
                      });
  });
}

void Connection::Ask(HttpRequest request, size_t max_body,
                     std::function<void(Result<Answer>, bool untouched)> done) {
  on_answer_ = std::move(done);
  Write(std::move(request), [this, max_body](const Error& error) {
    if (error) return OnAnswer(error);
    parser_->body_limit(max_body);
    WithStream([this](auto& stream) {
      http::async_read(stream, buffer_, *parser_,
                       [self = shared_from_this()](const Error& failed, size_t) { self->OnAnswer(failed); });
    });
  });
}

void Connection::OnAnswer(const Error& error) {
  if (closed_) return;
  const auto done = std::exchange(on_answer_, nullptr);
  if (error == http::error::body_limit || error == http::error::header_limit)
    return done(
        weir::Error(absl::StatusCode::kResourceExhausted, "{}: the answer is too long", endpoint_->Name()),
        false);
  if (error) return done(Trouble("no answer", error), !parser_->got_some());
  auto answer = parser_->release();
  done(Answer{answer.result_int(), std::move(answer.body()), RetryAfter(answer), answer.keep_alive()}, false);
}

void Connection::AskStream(HttpRequest request, StreamHandler handler) {
  stream_ = std::move(handler);
  Write(std::move(request), [this](const Error& error) {
    if (error) return EndStream(Trouble("cannot send", error));
    parser_->body_limit(boost::none);
    ReadHeader();
  });
}

void Connection::ReadHeader() {
  WithStream([this](auto& stream) {
    http::async_read_header(stream, buffer_, *parser_,
                            [self = shared_from_this()](const Error& error, size_t) {
                              if (self->closed_) return;
                              if (error) return self->EndStream(self->Trouble("no answer", error));
                              if (!self->stream_.on_header(self->parser_->get().result_int()))
                                return self->Refused();
                              if (!self->closed_) self->ReadSome();
                            });
  });
}

void Connection::ReadSome() {
  if (parser_->is_done()) return EndStream(OkStatus());
  // The parser is not eager since async_read_header: an eager one is given no rest before the body's end.
  WithStream([this](auto& stream) {
    http::async_read_some(stream, buffer_, *parser_,
                          [self = shared_from_this()](const Error& error, size_t) { self->OnSome(error); });
  });
}

void Connection::OnSome(const Error& error) {
  if (closed_) return;
  const std::string data = std::exchange(parser_->get().body(), std::string());
  if (!data.empty()) stream_.on_data(data);
  if (closed_) return;
  if (error) return EndStream(Trouble("the answer broke off", error));
  ReadSome();
}

void Connection::Refused() {
  if (closed_) return;
  parser_->body_limit(kMaxRefusal);
  WithStream([this](auto& stream) {
    http::async_read(stream, buffer_, *parser_, [self = shared_from_this()](const Error& error, size_t) {
      if (self->closed_) return;
      // An error whose text does not come is the error all the same.
      auto answer = std::move(self->parser_->get());
      Answer refusal{answer.result_int(), error ? "" : std::move(answer.body()), RetryAfter(answer), false};
      self->Close();
      self->stream_.on_refused(std::move(refusal));
    });
  });
}

void Connection::EndStream(const Status& status) {
  if (closed_) return;
  Close();
  stream_.on_end(status);
}

bool Connection::Usable() {
  char byte = 0;
  return !closed_ && ::recv(Lowest().socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
         errno == EAGAIN;
}

void Connection::Close() {
  closed_ = true;
  resolver_.cancel();
  Lowest().close();
}

}  // namespace weir::kubernetes
