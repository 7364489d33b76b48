#include "controller/kubernetes/client/event_recorder.h"

#include <utility>

#include "common/log.h"

namespace weir::kubernetes {
namespace {

const Resource kEvents{"events.k8s.io", "v1", "events"};
constexpr std::chrono::seconds kFlushPeriod{10};

}  // namespace

class EventRecorder::Impl : public std::enable_shared_from_this<EventRecorder::Impl> {
 public:
  Impl(Client& client, const std::string& instance, const EventBook::Options& options)
      : client_(client), timer_(client.context()), book_(instance, options) {}

  void Record(const EventSubject& regarding, const EventText& text) {
    const EventBook::Action action =
        book_.Record(regarding, text, client_.clock().Now(), client_.clock().WallNow());
    if (std::holds_alternative<EventBook::Limited>(action)) ++counters.limited;
    if (const auto* create = std::get_if<EventBook::Create>(&action))
      Send(CreateRequest(kEvents, create->key.ns, create->event), create->key);
    if (const auto* patch = std::get_if<EventBook::Patch>(&action)) Send(*patch);
    if (!std::exchange(ticking_, true)) Tick();
  }

  void Stop() {
    stopped_ = true;
    timer_.cancel();
  }

  Counters counters;

 private:
  void Send(const EventBook::Patch& patch) {
    Send(MergePatchRequest(kEvents, patch.key, patch.patch), patch.key);
  }

  void Send(ApiRequest request, const ObjectKey& event) {
    client_.Send(std::move(request), [weak = weak_from_this(), event](const Result<Response>& answer) {
      if (const auto self = weak.lock()) self->OnAnswer(event, answer.status());
    });
  }

  void OnAnswer(const ObjectKey& event, const Status& status) {
    if (stopped_) return;
    if (status.ok()) {
      ++counters.written;
      book_.Stored(event);
      return;
    }
    ++counters.failed;
    // Also an event that could not be created: the next one of its kind tries anew.
    book_.Gone(event);
    if (status.code() != absl::StatusCode::kNotFound)
      LogWarn("an event was not written", {{"event", ToString(event)}, {"error", status}});
  }

  void Tick() {
    timer_.expires_after(kFlushPeriod);
    timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
      const auto self = weak.lock();
      if (error || !self || self->stopped_) return;
      for (const EventBook::Patch& patch : self->book_.Flush(self->client_.clock().Now())) self->Send(patch);
      self->Tick();
    });
  }

  Client& client_;
  boost::asio::steady_timer timer_;
  EventBook book_;
  bool ticking_ = false, stopped_ = false;
};

EventRecorder::EventRecorder(Client& client, const std::string& instance, const EventBook::Options& options)
    : impl_(std::make_shared<Impl>(client, instance, options)) {}
EventRecorder::~EventRecorder() { impl_->Stop(); }

void EventRecorder::Record(const EventSubject& regarding, EventType type, const std::string& reason,
                           const std::string& action, const std::string& note) {
  impl_->Record(regarding, {type, reason, action, note});
}

const EventRecorder::Counters& EventRecorder::counters() const { return impl_->counters; }

}  // namespace weir::kubernetes
