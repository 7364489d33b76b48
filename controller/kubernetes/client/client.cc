#include "controller/kubernetes/client/client.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <future>
#include <set>
#include <utility>
#include <vector>

#include "common/version.h"
#include "controller/kubernetes/client/api_error.h"
#include "controller/kubernetes/client/connection.h"

namespace weir::kubernetes {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using std::chrono::milliseconds;

/// Retry-After: 0 is no invitation to a tight loop.
constexpr milliseconds kLeastPause{100};

const SystemClock kSystemClock;

Status Cancelled() { return Error(absl::StatusCode::kCancelled, "the client was stopped"); }

std::string Describe(const ApiRequest& request) {
  // Without the query: it is long, and the path says what it was about.
  return fmt::format("{} {}", ToString(request.method), request.target.substr(0, request.target.find('?')));
}

Result<Response> Interpret(const std::string& what, const Answer& answer, std::chrono::seconds retry_after) {
  auto body = ParseJson(answer.body);
  if (answer.status < 200 || answer.status > 299)
    return ApiError(what, answer.status, body.ok() ? *body : boost::json::value(), retry_after);
  if (!body.ok()) return Error(absl::StatusCode::kUnavailable, "{}: {}", what, Message(body.status()));
  return Response{answer.status, *std::move(body)};
}

/// One request, from Send to its answer.
struct Pending {
  Pending(asio::io_context& context, ApiRequest asked, Client::Done then)
      : request(std::move(asked)), done(std::move(then)), deadline(context), pause(context) {}

  ApiRequest request;
  Client::Done done;  // none: it is over
  asio::steady_timer deadline, pause;
  MonotonicTime until;
  std::shared_ptr<Connection> connection;  // while it uses one
  std::string token;
  bool reused = false;  // the connection had been used before
  bool retried_stale = false, retried_token = false;
};
using PendingPtr = std::shared_ptr<Pending>;

}  // namespace

class StreamImpl;

class Client::Impl : public std::enable_shared_from_this<Client::Impl> {
 public:
  Impl(asio::io_context& io, std::shared_ptr<const Endpoint> to, const ClientOptions& with,
       const Clock* clock_or_null)
      : context(io),
        endpoint(std::move(to)),
        options(with),
        clock(clock_or_null == nullptr ? kSystemClock : *clock_or_null),
        tokens(endpoint->access, clock),
        sweep_(io) {}

  void Send(ApiRequest request, Done done);
  void Stop();

  /// The request as it goes over the wire.
  Connection::HttpRequest Wire(const ApiRequest& request, const std::string& token) const;

  asio::io_context& context;
  const std::shared_ptr<const Endpoint> endpoint;
  const ClientOptions options;
  const Clock& clock;
  TokenSource tokens;
  ClientCounters counters;
  std::set<std::shared_ptr<StreamImpl>> streams;
  bool stopped = false;

 private:
  struct Idle {
    std::shared_ptr<Connection> connection;
    MonotonicTime since;
  };

  void Pump();
  bool MayBegin(const Pending& pending) const {
    return pending.request.urgent || active_ < options.max_connections;
  }
  void Begin(const PendingPtr& pending);
  std::shared_ptr<Connection> TakeIdle();
  void Open(const PendingPtr& pending);
  void Ask(const PendingPtr& pending);
  void OnAnswer(const PendingPtr& pending, Result<Answer> answer, bool untouched);
  bool AskAgain(const PendingPtr& pending, const Answer& answer, std::chrono::seconds retry_after);
  void Requeue(const PendingPtr& pending);
  void Release(const PendingPtr& pending, bool keep);
  void Finish(const PendingPtr& pending, Result<Response> result);
  void SweepIdle();

  std::set<PendingPtr> pending_;
  std::deque<PendingPtr> waiting_;  // for a connection
  std::vector<Idle> idle_;          // the one used last at the end
  size_t active_ = 0;               // connections in use
  asio::steady_timer sweep_;
};

void Client::Impl::Send(ApiRequest request, Done done) {
  if (stopped || waiting_.size() >= options.max_waiting) {
    const Status why = stopped ? Cancelled()
                               : Error(absl::StatusCode::kResourceExhausted, "{}: {} requests wait already",
                                       Describe(request), waiting_.size());
    return asio::post(context, [done = std::move(done), why] { done(why); });
  }
  auto pending = std::make_shared<Pending>(context, std::move(request), std::move(done));
  pending->until = MonotonicTime::clock::now() + pending->request.timeout;
  pending->deadline.expires_at(pending->until);
  pending->deadline.async_wait(
      [weak = weak_from_this(), at = std::weak_ptr(pending)](const boost::system::error_code& error) {
        const auto self = weak.lock();
        const auto late = at.lock();
        if (error || !self || !late) return;
        self->Finish(late, Error(absl::StatusCode::kDeadlineExceeded, "{}: no answer within {} ms",
                                 Describe(late->request), late->request.timeout.count()));
      });
  pending_.insert(pending);
  pending->request.urgent ? waiting_.push_front(pending) : waiting_.push_back(pending);
  asio::post(context, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->Pump();
  });
}

void Client::Impl::Pump() {
  while (!waiting_.empty() && MayBegin(*waiting_.front())) {
    const PendingPtr pending = std::move(waiting_.front());
    waiting_.pop_front();
    if (pending->done) Begin(pending);
  }
}

void Client::Impl::Begin(const PendingPtr& pending) {
  ++active_;
  // A server that went away has left every idle connection stale: a retry takes a new one.
  pending->connection = pending->retried_stale ? nullptr : TakeIdle();
  pending->reused = pending->connection != nullptr;
  pending->reused ? Ask(pending) : Open(pending);
}

std::shared_ptr<Connection> Client::Impl::TakeIdle() {
  while (!idle_.empty()) {
    const Idle idle = std::move(idle_.back());
    idle_.pop_back();
    if (idle.connection->Usable() && clock.Now() - idle.since < options.idle) return idle.connection;
    idle.connection->Close();
    ++counters.stale;
  }
  return nullptr;
}

void Client::Impl::Open(const PendingPtr& pending) {
  ++counters.connections;
  pending->connection = std::make_shared<Connection>(context, endpoint);
  pending->connection->Open(options.connect_timeout, [weak = weak_from_this(),
                                                      pending](const Status& status) {
    const auto self = weak.lock();
    if (!self || !pending->done) return;
    status.ok() ? self->Ask(pending) : self->Finish(pending, Annotate(status, Describe(pending->request)));
  });
}

void Client::Impl::Ask(const PendingPtr& pending) {
  auto token = tokens.Get();
  if (!token.ok()) return Finish(pending, Annotate(token.status(), Describe(pending->request)));
  pending->token = *std::move(token);
  ++counters.requests;
  pending->connection->Ask(Wire(pending->request, pending->token), options.max_body,
                           [weak = weak_from_this(), pending](Result<Answer> answer, bool untouched) {
                             const auto self = weak.lock();
                             if (self && pending->done) self->OnAnswer(pending, std::move(answer), untouched);
                           });
}

Connection::HttpRequest Client::Impl::Wire(const ApiRequest& request, const std::string& token) const {
  const Url& server = endpoint->access.server;
  // A proxy may serve the cluster under a path of its own.
  std::string target = server.target.substr(0, server.target.find_last_not_of('/') + 1) + request.target;
  Connection::HttpRequest wire;
  wire.method_string(ToString(request.method));
  wire.target(target);
  wire.version(11);
  wire.set(http::field::host, server.authority());
  wire.set(http::field::user_agent, fmt::format("weir-controller/{}", kVersion));
  wire.set(http::field::accept, request.accept);
  if (!token.empty()) wire.set(http::field::authorization, "Bearer " + token);
  if (!request.body.empty()) {
    wire.set(http::field::content_type, request.content_type);
    wire.body() = request.body;
  }
  wire.prepare_payload();
  return wire;
}

void Client::Impl::OnAnswer(const PendingPtr& pending, Result<Answer> answer, bool untouched) {
  if (!answer.ok()) {
    const bool again =
        untouched && pending->reused && !pending->retried_stale && pending->request.Idempotent();
    if (!again) return Finish(pending, Annotate(answer.status(), Describe(pending->request)));
    ++counters.stale;
    pending->retried_stale = true;
    Release(pending, false);
    return Requeue(pending);
  }
  Release(pending, answer->keep_alive);
  const auto retry_after =
      ParseRetryAfter(answer->retry_after, clock.WallNow()).value_or(std::chrono::seconds(0));
  if (AskAgain(pending, *answer, retry_after)) return;
  Finish(pending, Interpret(Describe(pending->request), *answer, retry_after));
}

bool Client::Impl::AskAgain(const PendingPtr& pending, const Answer& answer,
                            std::chrono::seconds retry_after) {
  if (answer.status == 401 && !pending->retried_token && tokens.Refused(pending->token)) {
    pending->retried_token = true;
    Requeue(pending);
    return true;
  }
  // The server's own words for "not carried out, ask again later".
  if ((answer.status != 429 && answer.status != 503) || answer.retry_after.empty()) return false;
  const auto pause = std::max<milliseconds>(retry_after, kLeastPause);
  if (MonotonicTime::clock::now() + pause >= pending->until) return false;
  ++counters.throttled;
  pending->pause.expires_after(pause);
  pending->pause.async_wait([weak = weak_from_this(), pending](const boost::system::error_code& error) {
    const auto self = weak.lock();
    if (!error && self && pending->done) self->Requeue(pending);
  });
  return true;
}

void Client::Impl::Requeue(const PendingPtr& pending) {
  waiting_.push_front(pending);
  Pump();
}

void Client::Impl::Release(const PendingPtr& pending, bool keep) {
  const auto connection = std::exchange(pending->connection, nullptr);
  if (!connection) return;
  --active_;
  if (!keep) return connection->Close();
  idle_.push_back({connection, clock.Now()});
  SweepIdle();
}

void Client::Impl::Finish(const PendingPtr& pending, Result<Response> result) {
  if (!pending->done) return;
  const Done done = std::exchange(pending->done, nullptr);
  pending->deadline.cancel();
  pending->pause.cancel();
  std::erase(waiting_, pending);
  Release(pending, false);
  pending_.erase(pending);
  if (!result.ok()) ++counters.errors;
  const auto self = shared_from_this();  // `done` may destroy the Client
  done(std::move(result));
  if (!stopped) Pump();
}

/// Connections that nobody uses are closed; one timer for all.
void Client::Impl::SweepIdle() {
  if (idle_.empty() || stopped) return;
  sweep_.expires_at(idle_.front().since + options.idle);
  sweep_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    const auto self = weak.lock();
    if (error || !self) return;
    const auto now = self->clock.Now();
    std::erase_if(self->idle_, [&](const Idle& idle) {
      if (now - idle.since < self->options.idle) return false;
      idle.connection->Close();
      return true;
    });
    self->SweepIdle();
  });
}

// --- streams

class StreamImpl : public std::enable_shared_from_this<StreamImpl> {
 public:
  StreamImpl(const std::shared_ptr<Client::Impl>& client, ApiRequest request, Client::StreamHandler handler)
      : client_(client),
        request_(std::move(request)),
        handler_(std::move(handler)),
        connection_(std::make_shared<Connection>(client->context, client->endpoint)),
        opens_(client->context),
        ends_(client->context) {}

  void Start(milliseconds total) {
    const auto client = client_.lock();
    if (!client) return;
    Expire(opens_, request_.timeout, "no answer within");
    Expire(ends_, total, "it has not ended within");
    ++client->counters.connections;
    connection_->Open(client->options.connect_timeout, [weak = weak_from_this()](const Status& status) {
      const auto self = weak.lock();
      if (!self || self->over_) return;
      status.ok() ? self->Ask() : self->End(Annotate(status, self->What()));
    });
  }

  /// on_end, unless it came already or the handle is gone.
  void End(const Status& status) {
    if (over_) return;
    const auto self = shared_from_this();
    const auto client = client_.lock();
    if (client && !status.ok()) ++client->counters.errors;
    Abandon();
    if (handler_.on_end) handler_.on_end(status);
  }

  void Abandon() {
    if (std::exchange(over_, true)) return;
    opens_.cancel();
    ends_.cancel();
    connection_->Close();
    if (const auto client = client_.lock()) client->streams.erase(shared_from_this());
  }

 private:
  std::string What() const { return Describe(request_); }

  void Expire(asio::steady_timer& timer, milliseconds after, std::string_view what) {
    timer.expires_after(after);
    timer.async_wait([weak = weak_from_this(), after, what](const boost::system::error_code& error) {
      const auto self = weak.lock();
      if (error || !self) return;
      self->End(
          Error(absl::StatusCode::kDeadlineExceeded, "{}: {} {} ms", self->What(), what, after.count()));
    });
  }

  void Ask() {
    const auto client = client_.lock();
    if (!client) return;
    auto token = client->tokens.Get();
    if (!token.ok()) return End(Annotate(token.status(), What()));
    token_ = *std::move(token);
    ++client->counters.requests;
    const auto weak = weak_from_this();
    Connection::StreamHandler handler;
    handler.on_header = [weak](unsigned status) {
      const auto self = weak.lock();
      return self && self->OnHeader(status);
    };
    handler.on_data = [weak](std::string_view data) {
      const auto self = weak.lock();
      if (self && !self->over_ && self->handler_.on_data) self->handler_.on_data(data);
    };
    handler.on_refused = [weak](const Answer& answer) {
      if (const auto self = weak.lock()) self->OnRefused(answer);
    };
    handler.on_end = [weak](const Status& status) {
      if (const auto self = weak.lock()) self->End(Annotate(status, self->What()));
    };
    connection_->AskStream(client->Wire(request_, token_), std::move(handler));
  }

  bool OnHeader(unsigned status) {
    if (status != 200) return false;
    opens_.cancel();
    if (!over_ && handler_.on_open) handler_.on_open();
    return true;
  }

  void OnRefused(const Answer& answer) {
    const auto client = client_.lock();
    if (!client) return;
    // The next attempt takes the token that is there now.
    if (answer.status == 401) client->tokens.Refused(token_);
    const auto retry_after = ParseRetryAfter(answer.retry_after, client->clock.WallNow());
    const auto body = ParseJson(answer.body);
    End(ApiError(What(), answer.status, body.ok() ? *body : boost::json::value(),
                 retry_after.value_or(std::chrono::seconds(0))));
  }

  std::weak_ptr<Client::Impl> client_;
  const ApiRequest request_;
  const Client::StreamHandler handler_;
  const std::shared_ptr<Connection> connection_;
  asio::steady_timer opens_, ends_;
  std::string token_;
  bool over_ = false;
};

namespace {

/// What the caller holds.
class StreamHandle final : public Client::Stream {
 public:
  explicit StreamHandle(std::shared_ptr<StreamImpl> stream) : stream_(std::move(stream)) {}
  ~StreamHandle() override { stream_->Abandon(); }

 private:
  std::shared_ptr<StreamImpl> stream_;
};

}  // namespace

void Client::Impl::Stop() {
  if (std::exchange(stopped, true)) return;
  const auto self = shared_from_this();
  sweep_.cancel();
  for (const PendingPtr& pending : std::set(pending_)) Finish(pending, Cancelled());
  for (const auto& stream : std::set(streams)) stream->End(Cancelled());
  for (const Idle& idle : std::exchange(idle_, {})) idle.connection->Close();
}

// --- Client

Result<std::unique_ptr<Client>> Client::Create(asio::io_context& context, Access access,
                                               const ClientOptions& options, const Clock* clock) {
  ASSIGN_OR_RETURN(auto endpoint, MakeEndpoint(std::move(access)));
  return std::unique_ptr<Client>(
      new Client(std::make_shared<Impl>(context, std::move(endpoint), options, clock)));
}

Client::Client(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() { Stop(); }

void Client::Send(ApiRequest request, Done done) { impl_->Send(std::move(request), std::move(done)); }

void Client::Request(Method method, std::string target, std::string body, std::string_view content_type,
                     milliseconds timeout, Done done) {
  ApiRequest request;
  request.method = method;
  request.target = std::move(target);
  request.body = std::move(body);
  request.content_type = content_type;
  request.timeout = timeout;
  Send(std::move(request), std::move(done));
}

Result<Response> Client::Call(ApiRequest request) {
  if (impl_->context.get_executor().running_in_this_thread()) {
    return FailedPrecondition("{}: Call() on the io_context's own thread would wait for itself; use Send()",
                              Describe(request));
  }
  const milliseconds timeout = request.timeout;
  const std::string what = Describe(request);
  const auto promise = std::make_shared<std::promise<Result<Response>>>();
  auto answer = promise->get_future();
  asio::post(impl_->context, [impl = impl_, promise, request = std::move(request)]() mutable {
    impl->Send(std::move(request),
               [promise](Result<Response> result) { promise->set_value(std::move(result)); });
  });
  // The request's own deadline comes first, unless the io_context's thread is busy.
  if (answer.wait_for(timeout + milliseconds(50)) == std::future_status::ready) {
    try {
      return answer.get();
    } catch (const std::future_error&) {  // the io_context went away with the request in its queue
      return Cancelled();
    }
  }
  return Error(absl::StatusCode::kDeadlineExceeded, "{}: no answer within {} ms", what, timeout.count());
}

std::unique_ptr<Client::Stream> Client::OpenStream(ApiRequest request, milliseconds total,
                                                   StreamHandler handler) {
  auto stream = std::make_shared<StreamImpl>(impl_, std::move(request), std::move(handler));
  if (impl_->stopped) {
    asio::post(impl_->context, [stream] { stream->End(Cancelled()); });
  } else {
    impl_->streams.insert(stream);
    stream->Start(total);
  }
  return std::make_unique<StreamHandle>(std::move(stream));
}

void Client::Stop() { impl_->Stop(); }
asio::io_context& Client::context() { return impl_->context; }
const Access& Client::access() const { return impl_->endpoint->access; }
const Clock& Client::clock() const { return impl_->clock; }
const ClientCounters& Client::counters() const { return impl_->counters; }

}  // namespace weir::kubernetes
