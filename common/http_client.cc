#include "common/http_client.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <optional>
#include <set>

#include "common/version.h"

namespace weir {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using tcp = asio::ip::tcp;

constexpr uint32_t kMaxHeaderBytes = 16384;

class Running;

}  // namespace

class HttpClient::Impl {
 public:
  explicit Impl(asio::io_context& io) : context(io) {}

  /// Who is trusted; the system's certificates are read once.
  Result<std::shared_ptr<asio::ssl::context>> Tls(const HttpCall& call);

  asio::io_context& context;
  std::set<std::shared_ptr<Running>> running;

 private:
  std::shared_ptr<asio::ssl::context> system_;
};

namespace {

/// One call. Keeps itself alive through its handlers; the client's set is for Stop.
class Running : public std::enable_shared_from_this<Running> {
 public:
  Running(std::weak_ptr<HttpClient::Impl> client, asio::io_context& context, HttpCall call,
          HttpClient::Done done)
      : client_(std::move(client)),
        call_(std::move(call)),
        done_(std::move(done)),
        resolver_(context),
        deadline_(context),
        plain_(context) {}

  void Start(std::shared_ptr<asio::ssl::context> tls) {
    tls_ = std::move(tls);
    deadline_.expires_after(call_.timeout);
    deadline_.async_wait([self = shared_from_this()](beast::error_code error) {
      if (!error)
        self->Finish(Error(absl::StatusCode::kDeadlineExceeded, "{}: no answer within {} ms", self->Server(),
                           self->call_.timeout.count()));
    });
    // Not the resolver's own deadline: a name server that is slow is left behind, the answer comes in time.
    resolver_.async_resolve(
        call_.url.host, std::to_string(call_.url.port), tcp::resolver::numeric_service,
        [self = shared_from_this()](beast::error_code error, tcp::resolver::results_type found) {
          if (error) return self->Fail("cannot find its address", error);
          self->Connect(found);
        });
  }

  void Finish(Result<HttpAnswer> answer) {
    if (!done_) return;
    const HttpClient::Done done = std::exchange(done_, nullptr);
    deadline_.cancel();
    resolver_.cancel();
    Lowest().close();
    if (const auto client = client_.lock()) client->running.erase(shared_from_this());
    done(std::move(answer));
  }

  std::string Server() const {
    return fmt::format("{}://{}", call_.url.https ? "https" : "http", call_.url.authority());
  }

 private:
  beast::tcp_stream& Lowest() { return secure_ ? beast::get_lowest_layer(*secure_) : plain_; }
  template <typename Use>
  void WithStream(const Use& use) {
    secure_ ? use(*secure_) : use(plain_);
  }

  void Fail(std::string_view what, const beast::error_code& error) {
    Finish(Error(absl::StatusCode::kUnavailable, "{}: {}: {}", Server(), what, error.message()));
  }

  /// A certificate that is not trusted is told as such, whatever OpenSSL's error queue says of the first step
  /// that failed: X509_verify_cert_error_string(3).
  void FailTls(const beast::error_code& error) {
    const long verified = SSL_get_verify_result(secure_->native_handle());
    if (call_.insecure || verified == X509_V_OK) return Fail("no TLS", error);
    Finish(Error(absl::StatusCode::kUnavailable, "{}: no TLS: certificate verify failed: {}", Server(),
                 X509_verify_cert_error_string(verified)));
  }

  void Connect(const tcp::resolver::results_type& found) {
    if (!done_) return;
    if (tls_) secure_.emplace(std::move(plain_), *tls_);
    Lowest().async_connect(found, [self = shared_from_this()](beast::error_code error, const tcp::endpoint&) {
      if (error) return self->Fail("cannot connect", error);
      self->secure_ ? self->Handshake() : self->Write();
    });
  }

  void Handshake() {
    if (!done_) return;
    beast::error_code not_an_address;
    asio::ip::make_address(call_.url.host, not_an_address);
    if (not_an_address && SSL_set_tlsext_host_name(secure_->native_handle(), call_.url.host.c_str()) != 1) {
      return Finish(
          Error(absl::StatusCode::kInvalidArgument, "{}: the name does not fit a TLS handshake", Server()));
    }
    if (!call_.insecure) secure_->set_verify_callback(asio::ssl::host_name_verification(call_.url.host));
    secure_->async_handshake(asio::ssl::stream_base::client,
                             [self = shared_from_this()](beast::error_code error) {
                               if (error) return self->FailTls(error);
                               self->Write();
                             });
  }

  void Write() {
    if (!done_) return;
    request_.method_string(call_.method);
    request_.target(call_.url.target);
    request_.version(11);
    request_.set(http::field::host, call_.url.authority());
    request_.set(http::field::user_agent, fmt::format("weir/{}", kVersion));
    request_.set(http::field::accept, "application/json");
    request_.set(http::field::connection, "close");
    for (const auto& [name, value] : call_.headers) request_.set(name, value);
    request_.body() = std::move(call_.body);
    request_.prepare_payload();
    parser_.header_limit(kMaxHeaderBytes);
    parser_.body_limit(call_.max_body);
    WithStream([this](auto& stream) {
      http::async_write(stream, request_, [self = shared_from_this()](beast::error_code error, size_t) {
        if (error) return self->Fail("cannot send", error);
        self->Read();
      });
    });
  }

  void Read() {
    if (!done_) return;
    WithStream([this](auto& stream) {
      http::async_read(stream, buffer_, parser_,
                       [self = shared_from_this()](beast::error_code error, size_t) { self->OnRead(error); });
    });
  }

  void OnRead(const beast::error_code& error) {
    if (error == http::error::body_limit || error == http::error::header_limit) {
      return Finish(Error(absl::StatusCode::kResourceExhausted, "{}: an answer of more than {} bytes",
                          Server(), call_.max_body));
    }
    if (error) return Fail("no answer", error);
    Finish(HttpAnswer{parser_.get().result_int(), std::move(parser_.get().body())});
  }

  std::weak_ptr<HttpClient::Impl> client_;
  HttpCall call_;
  HttpClient::Done done_;  // none: it is over
  tcp::resolver resolver_;
  asio::steady_timer deadline_;
  std::shared_ptr<asio::ssl::context> tls_;
  beast::tcp_stream plain_;
  std::optional<beast::ssl_stream<beast::tcp_stream>> secure_;
  beast::flat_buffer buffer_;
  http::request<http::string_body> request_;
  http::response_parser<http::string_body> parser_;
};

Status CheckCall(const HttpCall& call) {
  if (call.method != "GET" && call.method != "POST" && call.method != "PUT")
    return InvalidArgument("method: found {:?}, expected GET, POST or PUT", call.method);
  for (const auto& [name, value] : call.headers) {
    // A line break would begin a header, or a request, of its own.
    const bool bad_name = name.empty() || name.find_first_of(": \t\r\n") != std::string::npos;
    if (bad_name || value.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos)
      return InvalidArgument("header {:?}: found a name or value that is none, expected one line",
                             name.substr(0, 64));
  }
  return OkStatus();
}

}  // namespace

Result<std::shared_ptr<asio::ssl::context>> HttpClient::Impl::Tls(const HttpCall& call) {
  const bool system = !call.insecure && call.ca_pem.empty();
  if (system && system_) return system_;
  auto tls = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_client);
  tls->set_options(asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1);
  tls->set_verify_mode(call.insecure ? asio::ssl::verify_none : asio::ssl::verify_peer);
  beast::error_code error;
  if (system) {
    tls->set_default_verify_paths(error);
    if (error)
      return Error(absl::StatusCode::kUnavailable, "the system's CA certificates: {}", error.message());
    system_ = tls;
  } else if (!call.ca_pem.empty()) {
    tls->add_certificate_authority(asio::buffer(call.ca_pem), error);
    if (error) return InvalidArgument("CA certificate: found no PEM that can be read: {}", error.message());
  }
  return tls;
}

HttpClient::HttpClient(asio::io_context& context) : impl_(std::make_shared<Impl>(context)) {}
HttpClient::~HttpClient() { Stop(); }

void HttpClient::Call(HttpCall call, Done done) {
  Status status = CheckCall(call);
  std::shared_ptr<asio::ssl::context> tls;
  if (status.ok() && call.url.https) {
    auto made = impl_->Tls(call);
    status = made.status();
    if (made.ok()) tls = *std::move(made);
  }
  if (!status.ok()) {
    asio::post(impl_->context, [done = std::move(done), status] { done(status); });
    return;
  }
  auto running = std::make_shared<Running>(impl_, impl_->context, std::move(call), std::move(done));
  impl_->running.insert(running);
  running->Start(std::move(tls));
}

void HttpClient::Stop() {
  const std::set<std::shared_ptr<Running>> running(impl_->running);
  for (const auto& call : running) {
    call->Finish(Error(absl::StatusCode::kCancelled, "{}: given up", call->Server()));
  }
}

}  // namespace weir
