#include "controller/kubernetes/client/reflector.h"

#include <boost/asio/steady_timer.hpp>
#include <utility>

#include "controller/kubernetes/client/line_reader.h"

namespace weir::kubernetes {
namespace {

/// A line holds one object: etcd's limit of 1.5 MiB for one, and room for a server that has raised it.
constexpr size_t kMaxLine = size_t{16} << 20;
/// How long after the end that was asked for a watch may still be open.
constexpr std::chrono::seconds kGrace{30};

}  // namespace

class Reflector::Impl : public std::enable_shared_from_this<Reflector::Impl> {
 public:
  Impl(Client& client, ReflectorOptions options, ReflectorCallbacks callbacks, RandomSource random)
      : client_(client),
        timer_(client.context()),
        lines_(kMaxLine),
        core_(std::move(options), std::move(callbacks), std::move(random)) {}

  void Start() { Do(core_.Next()); }

  void Stop() {
    stopped_ = true;
    core_.Stop();
    timer_.cancel();
    stream_.reset();
  }

  const ReflectorCore& core() const { return core_; }

 private:
  void Do(ReflectorCore::Action action) {
    if (stopped_) return;
    if (auto* list = std::get_if<ReflectorCore::List>(&action)) return List(std::move(list->request));
    if (auto* watch = std::get_if<ReflectorCore::Watch>(&action)) return Watch(std::move(*watch));
    timer_.expires_after(std::get<ReflectorCore::Wait>(action).delay);
    timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
      const auto self = weak.lock();
      if (!error && self) self->Do(self->core_.Next());
    });
  }

  void List(ApiRequest request) {
    client_.Send(std::move(request), [weak = weak_from_this()](Result<Response> answer) {
      const auto self = weak.lock();
      if (!self || self->stopped_) return;
      self->Do(self->core_.OnPage(answer.ok() ? Result<boost::json::value>(std::move(answer->body))
                                              : Result<boost::json::value>(answer.status())));
    });
  }

  void Watch(ReflectorCore::Watch watch) {
    lines_.Clear();
    begun_ = client_.clock().Now();
    const auto weak = weak_from_this();
    Client::StreamHandler handler;
    handler.on_data = [weak](std::string_view data) {
      if (const auto self = weak.lock()) self->OnData(data);
    };
    handler.on_end = [weak](const Status& why) {
      const auto self = weak.lock();
      if (!self || self->stopped_) return;
      self->stream_.reset();
      self->Do(self->core_.OnWatchEnd(why, self->Lasted()));
    };
    stream_ = client_.OpenStream(std::move(watch.request), watch.timeout + kGrace, std::move(handler));
  }

  void OnData(std::string_view data) {
    std::optional<ReflectorCore::Action> end;
    const bool fits = lines_.Feed(data, [&](std::string_view line) {
      if (!stopped_) end = core_.OnLine(line);
      return !stopped_ && !end;
    });
    if (stopped_) return;
    if (!fits) {
      end = core_.OnWatchEnd(
          Error(absl::StatusCode::kResourceExhausted, "{}: a watch event of more than {} bytes",
                ToString(core_.options().resource), kMaxLine),
          Lasted());
    }
    if (!end) return;
    stream_.reset();
    Do(std::move(*end));
  }

  std::chrono::milliseconds Lasted() const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(client_.clock().Now() - begun_);
  }

  Client& client_;
  boost::asio::steady_timer timer_;
  LineReader lines_;
  ReflectorCore core_;
  MonotonicTime begun_;
  std::unique_ptr<Client::Stream> stream_;
  bool stopped_ = false;
};

Reflector::Reflector(Client& client, ReflectorOptions options, ReflectorCallbacks callbacks,
                     RandomSource random)
    : impl_(std::make_shared<Impl>(client, std::move(options), std::move(callbacks), std::move(random))) {}
Reflector::~Reflector() { impl_->Stop(); }
void Reflector::Start() { impl_->Start(); }
void Reflector::Stop() { impl_->Stop(); }
bool Reflector::synced() const { return impl_->core().synced(); }
bool Reflector::absent() const { return impl_->core().absent(); }
size_t Reflector::size() const { return impl_->core().size(); }
const ReflectorCounters& Reflector::counters() const { return impl_->core().counters(); }
const ReflectorOptions& Reflector::options() const { return impl_->core().options(); }

}  // namespace weir::kubernetes
