// The life of the agent's stream: connects, says hello, applies what comes and answers it, keeps both sides
// alive with heartbeats, reports counts, and starts again for ever when the stream breaks.
//
// One thread (the io_context's). The datapath is called on it: while an Apply runs, messages gather in the
// mailbox.
#pragma once

#include <grpcpp/channel.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/datapath/datapath.h"
#include "agent/stream/assembler.h"
#include "agent/stream/companion.h"
#include "agent/stream/connection.h"
#include "agent/stream/safety.h"
#include "agent/stream/split_book.h"
#include "agent/stream/telemetry.h"
#include "common/backoff.h"
#include "common/clock.h"
#include "common/status.h"

namespace weir::stream {

/// Why a stream ended, as metrics label it.
namespace reason {
inline constexpr std::string_view kConnect =
    "connect";  // no Welcome came: refused, unreachable, not a controller
inline constexpr std::string_view kClosed = "closed";      // the controller or the network ended it
inline constexpr std::string_view kSilence = "silence";    // nothing for three heartbeat intervals
inline constexpr std::string_view kProtocol = "protocol";  // a message that must not come here
inline constexpr std::string_view kResync =
    "resync";  // a delta that does not follow: a full snapshot is needed
inline constexpr std::string_view kAll[] = {kConnect, kClosed, kSilence, kProtocol, kResync};
}  // namespace reason

/// Told what happens, for metrics. The io_context's thread.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void Connected(bool connected) = 0;
  virtual void Reconnecting(std::string_view why) = 0;
  virtual void Applied(std::chrono::nanoseconds took, const Status& status) = 0;
  virtual void Nacked() = 0;
  /// The datapath's figures could not be read for a report.
  virtual void FiguresUnreadable() = 0;
};

class Client {
 public:
  struct Options {
    std::string node_name;
    std::string instance;  // new for every process
    std::string kernel_release;
    Assembler::Limits limits;
    Backoff::Options backoff;
    std::chrono::milliseconds welcome_timeout{5000};  // from dialling to Welcome
    std::chrono::milliseconds telemetry_interval{
        1000};                                        // of what changes; of figures: where a split is at work
    std::chrono::milliseconds telemetry_idle{15000};  // of all else
    Safety* safety = nullptr;  // outlives the client; null: nobody looks after the node while it is alone
    size_t telemetry_bytes = 256 << 10;  // a message of figures: an ack waits behind one at most
  };
  /// Makes the channel of one attempt; an error (a key file that went away) counts as a failed attempt.
  using ChannelFactory = std::function<Result<std::shared_ptr<grpc::Channel>>()>;

  Client(boost::asio::io_context& context, const Clock& clock, datapath::Datapath& datapath,
         Observer& observer, ChannelFactory channels, RandomSource random, Options options);
  /// Before Start(), or after Stop()'s `done`.
  ~Client();

  /// Before Start(); outlives the client. None: orders are ignored.
  void set_companion(Companion* companion) { companion_ = companion; }
  /// Likewise.
  void set_consumers(ConsumerKeeper* consumers) { consumers_ = consumers; }

  void Start();
  /// Ends the stream; `done` is called on the io_context, which must run until then.
  void Stop(std::function<void()> done);

  /// A controller has welcomed us on the present stream.
  bool connected() const { return state_ == State::kWelcomed; }
  /// A split is in force: adopted, or the first full snapshot was applied.
  bool synced() const { return synced_; }
  /// Names and roles of what this process has put in force.
  const SplitBook& book() const { return book_; }
  /// Why the last attempt or stream ended; empty before the first end.
  const std::string& last_error() const { return last_error_; }

 private:
  enum class State { kIdle, kWaiting, kDialled, kWelcomed, kClosing, kStopped };

  void Dial();
  void SendHello();
  void OnMessages();
  void OnMessage(v1::ControllerMessage& message);
  void OnWelcome(const v1::Welcome& welcome);
  void OnUpdate(const v1::Update& update);
  void OnEndOrders(const v1::EndOrders& orders);
  void OnConsumers(const v1::Consumers& consumers);
  void OnDone(const grpc::Status& status);
  void End(std::string_view why, std::string message);
  void Disconnected();
  void Reconnect();

  void ApplyPending();
  Status Apply(const datapath::Change& change);
  void Answer(datapath::Change change);
  void Ack(uint64_t generation);
  void Nack(uint64_t generation, const Status& status);

  void Heard();
  void TellSafety(bool anew);
  void Beat();
  void Report();
  std::optional<std::vector<datapath::SplitCount>> ReadCounts();
  std::optional<datapath::Figures> ReadFigures();
  template <typename Action>
  void After(boost::asio::steady_timer& timer, std::chrono::milliseconds delay, Action action);

  boost::asio::io_context& context_;
  const Clock& clock_;
  datapath::Datapath& datapath_;
  Observer& observer_;
  Companion* companion_ = nullptr;
  ConsumerKeeper* consumers_ = nullptr;
  ChannelFactory channels_;
  Options options_;
  Backoff backoff_;
  Assembler assembler_;
  SplitBook book_;
  TelemetryPacer pacer_;
  SeriesPacer series_pacer_;

  boost::asio::steady_timer life_timer_;  // welcome deadline, then heartbeats, then the wait to reconnect
  boost::asio::steady_timer telemetry_timer_;
  std::shared_ptr<Connection> connection_;
  State state_ = State::kIdle;
  std::function<void()> stop_done_;

  std::chrono::milliseconds heartbeat_{1000};
  uint64_t heartbeat_sequence_ = 0;
  std::string controller_id_;       // of the present stream
  std::string controller_id_said_;  // in the present stream's Hello
  bool full_wanted_ = false;        // say no controller id in the next Hello
  bool synced_ = false;
  bool answered_ = false;  // something was acked on the present stream
  bool counts_failing_ = false, figures_failing_ = false;
  MonotonicTime welcomed_at_;
  std::vector<datapath::Change> pending_;
  std::string_view end_reason_;
  std::string last_error_;
  std::shared_ptr<char> alive_ =
      std::make_shared<char>();  // timers that fired late look whether we still are
};

}  // namespace weir::stream
