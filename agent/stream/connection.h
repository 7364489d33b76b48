// One call of AgentService.Connect: the gRPC reactor, the mailbox of what arrived and the queue of what is to
// be sent.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "common/clock.h"
#include "weir/v1/agent.grpc.pb.h"

namespace weir::stream {

/// Public methods and callbacks: the io_context's thread. The reactions (On...) run on gRPC's threads: they
/// copy into the mailbox, post and return. The object keeps itself alive until OnDone; the io_context must
/// run until on_done was called.
class Connection final : private grpc::ClientBidiReactor<v1::AgentMessage, v1::ControllerMessage>,
                         public std::enable_shared_from_this<Connection> {
 public:
  struct Callbacks {
    /// Something is in the mailbox: call TakeMessages().
    std::function<void()> on_messages;
    /// The call is over; the last callback.
    std::function<void(const grpc::Status&)> on_done;
  };
  /// Messages received and not yet taken; no more is read while so many wait.
  static constexpr size_t kMailboxSize = 64;
  /// Nacks waiting to be written; the oldest give way, as a later one says more.
  static constexpr size_t kMaxQueuedNacks = 16;

  static std::shared_ptr<Connection> Start(boost::asio::io_context& context, const Clock& clock,
                                           std::shared_ptr<grpc::Channel> channel, Callbacks callbacks);

  /// Queues a message; one write is in flight. Waiting acks and heartbeats are replaced by a newer one, so
  /// the queue is bounded by what telemetry is put into it; that gives way to everything else. Ignored after
  /// Close() or once the call has failed.
  void Send(v1::AgentMessage message);

  /// Telemetry is waiting to be written. It tells what changed, part by part, so none of it may be replaced;
  /// who sends more only when this is false keeps the queue bounded.
  bool TelemetryWaiting() const;

  /// What arrived since the last call, in order.
  std::vector<v1::ControllerMessage> TakeMessages();

  /// When the last message arrived (not: was taken); the start, when none has.
  MonotonicTime last_received() const { return MonotonicTime(MonotonicTime::duration(last_received_)); }

  /// Ends the call; on_done follows. May be called again.
  void Close();

 private:
  Connection(boost::asio::io_context& context, const Clock& clock, Callbacks callbacks);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

  void Written(bool ok);
  void Release();

  boost::asio::io_context& context_;
  // run() must not run out of work while the call is ending: OnDone still posts
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  const Clock& clock_;
  Callbacks callbacks_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::AgentService::Stub> stub_;
  grpc::ClientContext call_;
  std::shared_ptr<Connection> self_;  // until OnDone
  std::atomic<MonotonicTime::duration::rep> last_received_;

  // The io_context's thread.
  std::deque<v1::AgentMessage> queue_;
  v1::AgentMessage writing_;
  bool write_in_flight_ = false;
  bool closed_ = false;

  // Between gRPC's threads and the io_context's.
  std::mutex mutex_;
  std::vector<v1::ControllerMessage> mailbox_;
  bool read_paused_ = false;
  v1::ControllerMessage reading_;  // gRPC's, while a read is in flight
};

}  // namespace weir::stream
