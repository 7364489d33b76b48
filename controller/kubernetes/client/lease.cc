#include "controller/kubernetes/client/lease.h"

#include <atomic>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <utility>

#include "common/log.h"

namespace weir::kubernetes {
namespace {

const Resource kLeases{"coordination.k8s.io", "v1", "leases"};
constexpr int64_t kNotHeld = 0;

template <typename... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <typename... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

}  // namespace

class Lease::Impl : public std::enable_shared_from_this<Lease::Impl> {
 public:
  Impl(Client& client, LeaseOptions options, LeaseCallbacks callbacks, RandomSource random)
      : client_(client),
        clock_(client.clock()),
        options_(std::move(options)),
        callbacks_(std::move(callbacks)),
        election_(options_, std::move(random)),
        retry_(client.context()),
        deadline_(client.context()) {}

  void Start() { Do(election_.Next(clock_.Now(), clock_.WallNow())); }

  void Stop(std::function<void(Status)> done) {
    if (stopping_) return Finish(std::move(done), OkStatus());
    stopping_ = true;
    retry_.cancel();
    Depose();
    on_stopped_ = std::move(done);
    // A renewal under way would make a release that is based on what was before it fail.
    if (!asking_) Release();
  }

  /// No further callbacks, nothing is released.
  void Abandon() {
    gone_ = true;
    held_until_.store(kNotHeld);
    retry_.cancel();
    deadline_.cancel();
  }

  bool Held() const {
    const int64_t until = held_until_.load();
    return until != kNotHeld && clock_.Now().time_since_epoch().count() < until;
  }
  const std::string& holder() const { return election_.holder(); }

 private:
  void Do(const Election::Action& action) {
    std::visit(Overloaded{[this](const Election::Get&) { Send(GetRequest(kLeases, options_.key)); },
                          [this](const Election::Create& create) {
                            Send(CreateRequest(kLeases, options_.key.ns, create.lease));
                          },
                          [this](const Election::Update& update) {
                            Send(UpdateRequest(kLeases, options_.key, update.lease));
                          },
                          [this](const Election::Wait& wait) { Wait(wait.delay); }},
               action);
  }

  void Wait(std::chrono::milliseconds delay) {
    retry_.expires_after(delay);
    retry_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
      const auto self = weak.lock();
      if (error || !self || self->gone_ || self->stopping_) return;
      self->Do(self->election_.Next(self->clock_.Now(), self->clock_.WallNow()));
    });
  }

  void Send(ApiRequest request) {
    asking_ = true;
    request.timeout = options_.renew_deadline / 2;
    request.urgent = true;
    client_.Send(std::move(request), [weak = weak_from_this()](Result<Response> answer) {
      const auto self = weak.lock();
      if (self && !self->gone_) self->OnAnswer(std::move(answer));
    });
  }

  void OnAnswer(Result<Response> answer) {
    asking_ = false;
    Log(answer.status());
    Result<boost::json::value> lease =
        answer.ok() ? Result<boost::json::value>(std::move(answer->body)) : answer.status();
    const Election::Action next = election_.OnAnswer(lease, clock_.Now(), clock_.WallNow());
    if (stopping_) return Release();
    const auto self = shared_from_this();  // a callback may destroy the Lease
    Publish();
    if (!gone_ && !stopping_) Do(next);
  }

  /// Makes known what the election has come to.
  void Publish() {
    if (const std::string& now = election_.holder(); now != told_holder_) {
      told_holder_ = now;
      if (callbacks_.on_holder) callbacks_.on_holder(now);
    }
    if (gone_ || stopping_) return;
    if (!election_.Held(clock_.Now())) return Depose();
    held_until_.store(election_.held_until()->time_since_epoch().count());
    deadline_.expires_at(*election_.held_until());
    deadline_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
      const auto self = weak.lock();
      if (!error && self && !self->gone_ && !self->Held()) self->Depose();
    });
    if (std::exchange(elected_, true)) return;
    LogInfo("elected leader", {{"lease", ToString(options_.key)}, {"identity", options_.identity}});
    if (callbacks_.on_elected) callbacks_.on_elected();
  }

  void Depose() {
    held_until_.store(kNotHeld);
    deadline_.cancel();
    if (!std::exchange(elected_, false)) return;
    LogWarn("no longer leader", {{"lease", ToString(options_.key)}, {"holder", election_.holder()}});
    if (callbacks_.on_deposed) callbacks_.on_deposed();
  }

  void Release() {
    auto release = election_.Release(clock_.WallNow());
    if (!release) return Finish(std::exchange(on_stopped_, nullptr), OkStatus());
    ApiRequest request = UpdateRequest(kLeases, options_.key, release->lease);
    request.timeout = options_.renew_deadline / 2;
    request.urgent = true;
    client_.Send(std::move(request), [weak = weak_from_this()](const Result<Response>& answer) {
      const auto self = weak.lock();
      if (self && !self->gone_) self->Finish(std::exchange(self->on_stopped_, nullptr), answer.status());
    });
  }

  void Finish(std::function<void(Status)> done, const Status& status) {
    if (!done) return;
    boost::asio::post(client_.context(), [done = std::move(done), status] { done(status); });
  }

  /// Failures in a row are told once.
  void Log(const Status& status) {
    const bool news = status.ok() || status.code() == absl::StatusCode::kAborted ||
                      status.code() == absl::StatusCode::kNotFound ||
                      status.code() == absl::StatusCode::kAlreadyExists;
    if (!news && !failing_)
      LogWarn("the lease cannot be read or renewed", {{"lease", ToString(options_.key)}, {"error", status}});
    failing_ = !news;
  }

  Client& client_;
  const Clock& clock_;
  const LeaseOptions options_;
  const LeaseCallbacks callbacks_;
  Election election_;
  boost::asio::steady_timer retry_, deadline_;
  std::atomic<int64_t> held_until_{kNotHeld};  // of the steady clock, in its ticks
  std::string told_holder_;
  std::function<void(Status)> on_stopped_;
  bool asking_ = false, elected_ = false, stopping_ = false, gone_ = false, failing_ = false;
};

Lease::Lease(Client& client, LeaseOptions options, LeaseCallbacks callbacks, RandomSource random)
    : impl_(std::make_shared<Impl>(client, std::move(options), std::move(callbacks), std::move(random))) {}
Lease::~Lease() { impl_->Abandon(); }
void Lease::Start() { impl_->Start(); }
void Lease::Stop(std::function<void(Status)> done) { impl_->Stop(std::move(done)); }
bool Lease::Held() const { return impl_->Held(); }
const std::string& Lease::holder() const { return impl_->holder(); }

}  // namespace weir::kubernetes
