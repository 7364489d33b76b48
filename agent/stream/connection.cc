#include "agent/stream/connection.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

namespace weir::stream {
namespace {

bool IsTelemetry(const v1::AgentMessage& message) { return message.has_telemetry(); }

}  // namespace

std::shared_ptr<Connection> Connection::Start(boost::asio::io_context& context, const Clock& clock,
                                              std::shared_ptr<grpc::Channel> channel, Callbacks callbacks) {
  std::shared_ptr<Connection> connection(new Connection(context, clock, std::move(callbacks)));
  connection->self_ = connection;
  connection->channel_ = std::move(channel);
  connection->stub_ = v1::AgentService::NewStub(connection->channel_);
  connection->stub_->async()->Connect(&connection->call_, connection.get());
  connection->AddHold();  // writes, and reads after a pause, are started from outside reactions
  connection->StartRead(&connection->reading_);
  connection->StartCall();
  return connection;
}

Connection::Connection(boost::asio::io_context& context, const Clock& clock, Callbacks callbacks)
    : context_(context),
      work_(boost::asio::make_work_guard(context)),
      clock_(clock),
      callbacks_(std::move(callbacks)),
      last_received_(clock.Now().time_since_epoch().count()) {}

void Connection::Send(v1::AgentMessage message) {
  if (closed_) return;
  const auto kind = message.kind_case();
  const auto is_nack = [](const auto& queued) { return queued.has_nack(); };
  if (kind == v1::AgentMessage::kNack) {
    if (std::count_if(queue_.begin(), queue_.end(), is_nack) >= static_cast<ptrdiff_t>(kMaxQueuedNacks)) {
      queue_.erase(std::find_if(queue_.begin(), queue_.end(), is_nack));
    }
  } else if (kind == v1::AgentMessage::kEnded) {
    // The same order's newer answer says more.
    std::erase_if(queue_, [&](const auto& queued) {
      return queued.has_ended() && queued.ended().id() == message.ended().id();
    });
  } else if (kind != v1::AgentMessage::kTelemetry) {
    // An ack does not overtake a nack: what was acked before it says what the next delta may build upon.
    const auto from = kind == v1::AgentMessage::kAck
                          ? std::find_if(queue_.rbegin(), queue_.rend(), is_nack).base()
                          : queue_.begin();
    const auto same = [&](const auto& queued) { return queued.kind_case() == kind; };
    queue_.erase(std::remove_if(from, queue_.end(), same), queue_.end());
  }
  const bool last = kind == v1::AgentMessage::kTelemetry;
  queue_.insert(last ? queue_.end() : std::find_if(queue_.begin(), queue_.end(), IsTelemetry),
                std::move(message));
  if (!write_in_flight_) Written(true);
}

void Connection::Written(bool ok) {
  write_in_flight_ = false;
  if (closed_) return;
  if (!ok) return;  // the call is over: the read says so too, and its status says why
  if (queue_.empty()) return;
  writing_ = std::move(queue_.front());
  queue_.pop_front();
  write_in_flight_ = true;
  StartWrite(&writing_);
}

bool Connection::TelemetryWaiting() const { return std::any_of(queue_.begin(), queue_.end(), IsTelemetry); }

std::vector<v1::ControllerMessage> Connection::TakeMessages() {
  std::vector<v1::ControllerMessage> messages;
  bool resume = false;
  {
    const std::lock_guard lock(mutex_);
    messages.swap(mailbox_);
    resume = std::exchange(read_paused_, false);
  }
  if (resume && !closed_) StartRead(&reading_);
  return messages;
}

void Connection::Close() {
  if (closed_) return;
  call_.TryCancel();
  Release();
}

void Connection::Release() {
  if (std::exchange(closed_, true)) return;
  queue_.clear();
  RemoveHold();
}

void Connection::OnReadDone(bool ok) {
  if (!ok) {
    // The call is over and its status on the way; cancelling now would hide it.
    boost::asio::post(context_, [self = shared_from_this()] { self->Release(); });
    return;
  }
  bool post = false;
  bool read = false;
  {
    const std::lock_guard lock(mutex_);
    mailbox_.push_back(std::move(reading_));
    post = mailbox_.size() == 1;
    read = mailbox_.size() < kMailboxSize;
    read_paused_ = !read;
  }
  // Last: whoever knows of the time finds the message.
  last_received_ = clock_.Now().time_since_epoch().count();
  // Started last: the next reaction may run before this one has returned.
  if (post) {
    boost::asio::post(context_, [self = shared_from_this()] {
      if (self->callbacks_.on_messages) self->callbacks_.on_messages();
    });
  }
  if (read) StartRead(&reading_);
}

void Connection::OnWriteDone(bool ok) {
  boost::asio::post(context_, [self = shared_from_this(), ok] { self->Written(ok); });
}

void Connection::OnDone(const grpc::Status& status) {
  boost::asio::post(context_, [self = std::move(self_), status]() mutable {
    self->closed_ = true;
    self->work_.reset();
    // The callbacks may hold their owner, which may hold us.
    const Callbacks callbacks = std::move(self->callbacks_);
    self->callbacks_ = {};
    if (callbacks.on_done) callbacks.on_done(status);
  });
}

}  // namespace weir::stream
