#include "agent/stream/client.h"

#include <algorithm>
#include <bit>
#include <boost/asio/post.hpp>
#include <optional>
#include <utility>

#include "agent/stream/convert.h"
#include "common/log.h"
#include "common/version.h"

namespace weir::stream {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kDefaultHeartbeat{1000};
constexpr milliseconds kMinHeartbeat{20};
constexpr milliseconds kMaxHeartbeat{60'000};
constexpr int kSilentIntervals = 3;
/// A stream that lived this long was a success: the next reconnect starts with a short delay again.
constexpr milliseconds kStableAfter{1000};

}  // namespace

Client::Client(boost::asio::io_context& context, const Clock& clock, datapath::Datapath& datapath,
               Observer& observer, ChannelFactory channels, RandomSource random, Options options)
    : context_(context),
      clock_(clock),
      datapath_(datapath),
      observer_(observer),
      channels_(std::move(channels)),
      options_(std::move(options)),
      backoff_(options_.backoff, std::move(random)),
      assembler_(options_.limits),
      pacer_(options_.telemetry_idle),
      series_pacer_(options_.telemetry_idle),
      life_timer_(context),
      telemetry_timer_(context),
      synced_(datapath.Generation() != 0) {
  // The kernel keeps no names: an adopted split needs them told once.
  full_wanted_ = synced_;
}

Client::~Client() = default;

template <typename Action>
void Client::After(boost::asio::steady_timer& timer, milliseconds delay, Action action) {
  timer.expires_after(delay);
  timer.async_wait([alive = std::weak_ptr<char>(alive_), action](const boost::system::error_code& error) {
    if (!error && !alive.expired()) action();
  });
}

void Client::Start() { Dial(); }

void Client::Stop(std::function<void()> done) {
  const State before = std::exchange(state_, State::kStopped);
  life_timer_.cancel();
  telemetry_timer_.cancel();
  if (before == State::kWelcomed) Disconnected();
  if (!connection_) {
    boost::asio::post(context_, std::move(done));
    return;
  }
  stop_done_ = std::move(done);
  connection_->Close();
}

void Client::Dial() {
  state_ = State::kDialled;
  end_reason_ = reason::kConnect;
  auto channel = channels_();
  if (!channel.ok()) {
    last_error_ = Message(channel.status());
    Reconnect();
    return;
  }
  connection_ = Connection::Start(context_, clock_, *std::move(channel),
                                  {.on_messages = [this] { OnMessages(); },
                                   .on_done = [this](const grpc::Status& status) { OnDone(status); }});
  SendHello();
  After(life_timer_, options_.welcome_timeout, [this] {
    if (state_ != State::kDialled) return;
    End(reason::kConnect, fmt::format("no welcome within {} ms", options_.welcome_timeout.count()));
  });
}

void Client::SendHello() {
  v1::AgentMessage message;
  v1::Hello* hello = message.mutable_hello();
  hello->set_node_name(options_.node_name);
  hello->set_agent_version(std::string(kVersion));
  hello->set_kernel_release(options_.kernel_release);
  for (std::string& ability : datapath_.Abilities()) hello->add_abilities(std::move(ability));
  if (companion_ != nullptr) {
    for (std::string& ability : companion_->Abilities()) hello->add_abilities(std::move(ability));
  }
  hello->set_generation_held(datapath_.Generation());
  controller_id_said_ = full_wanted_ ? std::string() : datapath_.ControllerId();
  hello->set_controller_id_held(controller_id_said_);
  hello->set_instance(options_.instance);
  connection_->Send(std::move(message));
}

void Client::OnMessages() {
  if (state_ == State::kWelcomed) Heard();
  for (v1::ControllerMessage& message : connection_->TakeMessages()) {
    if (state_ != State::kDialled && state_ != State::kWelcomed) return;
    OnMessage(message);
  }
  if (state_ != State::kWelcomed) return;
  ApplyPending();
  Heard();  // what was decided while we were alone may be kept only now that it has a name
  TellSafety(false);
}

void Client::Heard() {
  if (options_.safety != nullptr) options_.safety->Heard();
}

void Client::TellSafety(bool anew) {
  if (options_.safety == nullptr) return;
  auto report = options_.safety->Report(anew);
  if (!report) return;
  v1::AgentMessage message;
  *message.mutable_safety() = *std::move(report);
  connection_->Send(std::move(message));
}

void Client::OnMessage(v1::ControllerMessage& message) {
  switch (message.kind_case()) {
    case v1::ControllerMessage::kWelcome:
      return OnWelcome(message.welcome());
    case v1::ControllerMessage::kUpdate:
      return OnUpdate(message.update());
    case v1::ControllerMessage::kEndOrders:
      return OnEndOrders(message.end_orders());
    case v1::ControllerMessage::kConsumers:
      return OnConsumers(message.consumers());
    case v1::ControllerMessage::kHeartbeat:    // its arrival was noted
    case v1::ControllerMessage::KIND_NOT_SET:  // from a later controller
      return;
  }
}

void Client::OnWelcome(const v1::Welcome& welcome) {
  if (state_ != State::kDialled) return End(reason::kProtocol, "a second welcome on one stream");
  if (welcome.controller_id().empty()) return End(reason::kProtocol, "a welcome without a controller id");
  state_ = State::kWelcomed;
  end_reason_ = reason::kClosed;
  welcomed_at_ = clock_.Now();
  answered_ = false;
  controller_id_ = welcome.controller_id();
  const milliseconds wanted(welcome.heartbeat_interval().milliseconds());
  heartbeat_ = wanted.count() == 0 ? kDefaultHeartbeat : std::clamp(wanted, kMinHeartbeat, kMaxHeartbeat);
  datapath_.SetNodeNumber(welcome.node_number());

  const uint64_t held = datapath_.Generation();
  const bool follows = held != 0 && controller_id_said_ == controller_id_;
  assembler_.Begin(controller_id_, follows ? std::optional(held) : std::nullopt);
  pending_.clear();
  pacer_.Reset();
  series_pacer_.Reset();
  observer_.Connected(true);
  Heard();
  TellSafety(true);
  if (companion_ != nullptr) {
    companion_->Welcomed(controller_id_, [this](v1::AgentMessage message) {
      if (connection_) connection_->Send(std::move(message));
    });
  }
  LogInfo("connected", {{"controller", controller_id_},
                        {"node_number", welcome.node_number()},
                        {"generation_held", held},
                        {"heartbeat", heartbeat_}});
  After(life_timer_, heartbeat_, [this] { Beat(); });
  After(telemetry_timer_, options_.telemetry_interval, [this] { Report(); });
}

void Client::OnUpdate(const v1::Update& update) {
  if (state_ != State::kWelcomed) return End(reason::kProtocol, "an update before the welcome");
  auto added = assembler_.Add(update);
  if (!added.ok()) {
    ApplyPending();  // what came before stands
    full_wanted_ = true;
    return End(reason::kResync, Message(added.status()));
  }
  if (!added->has_value()) return;
  Assembler::Complete& complete = **added;
  if (complete.change.ok()) {
    pending_.push_back(*std::move(complete.change));
    return;
  }
  ApplyPending();
  Nack(complete.generation, complete.change.status());
}

void Client::OnEndOrders(const v1::EndOrders& orders) {
  if (state_ != State::kWelcomed) return End(reason::kProtocol, "orders before the welcome");
  ApplyPending();  // what came before is what they build upon
  if (companion_ != nullptr) companion_->OnEndOrders(orders);
}

void Client::OnConsumers(const v1::Consumers& consumers) {
  if (state_ != State::kWelcomed) return End(reason::kProtocol, "consumers before the welcome");
  ApplyPending();
  if (consumers_ != nullptr) consumers_->OnConsumers(consumers);
}

void Client::ApplyPending() {
  std::vector<datapath::Change> pending = std::exchange(pending_, {});
  if (pending.empty()) return;
  if (pending.size() == 1) return Answer(std::move(pending.front()));

  datapath::Change merged = pending.front();
  for (size_t i = 1; i < pending.size(); ++i) Merge(merged, pending[i]);
  merged = assembler_.WithRefused(std::move(merged));
  const Status status = Apply(merged);
  if (status.ok()) return Ack(merged.generation);
  // One of them is at fault: those before it can still come in force.
  for (datapath::Change& change : pending) Answer(std::move(change));
}

void Client::Answer(datapath::Change change) {
  change = assembler_.WithRefused(std::move(change));
  const Status status = Apply(change);
  const uint64_t generation = change.generation;
  if (status.ok()) return Ack(generation);
  assembler_.Refused(std::move(change));
  Nack(generation, status);
}

Status Client::Apply(const datapath::Change& change) {
  const bool nothing = !change.full && change.upserts.empty() && change.removals.empty();
  if (nothing && change.generation == datapath_.Generation() &&
      change.controller_id == datapath_.ControllerId()) {
    return OkStatus();  // the controller says that we are up to date
  }
  const MonotonicTime start = clock_.Now();
  if (companion_ != nullptr) companion_->BeforeApply(change);
  Status status = datapath_.Apply(change);
  observer_.Applied(clock_.Now() - start, status);
  if (status.ok()) book_.Applied(change, clock_.Now());
  if (status.ok() && change.full) {
    synced_ = true;
    full_wanted_ = false;
  }
  if (companion_ != nullptr && status.ok()) companion_->AfterApply(change);
  return status;
}

void Client::Ack(uint64_t generation) {
  assembler_.Applied(generation);
  answered_ = true;
  LogDebug("generation in force", {{"generation", generation}});
  v1::AgentMessage message;
  message.mutable_ack()->set_generation(generation);
  connection_->Send(std::move(message));
}

void Client::Nack(uint64_t generation, const Status& status) {
  observer_.Nacked();
  LogWarn("generation refused, the split before it stays in force",
          {{"generation", generation}, {"generation_held", datapath_.Generation()}, {"error", status}});
  v1::AgentMessage message;
  message.mutable_nack()->set_generation(generation);
  message.mutable_nack()->set_reason(Message(status));
  connection_->Send(std::move(message));
}

void Client::Beat() {
  if (state_ != State::kWelcomed) return;
  if (clock_.Now() - connection_->last_received() > kSilentIntervals * heartbeat_) {
    return End(reason::kSilence,
               fmt::format("nothing from the controller for {} heartbeat intervals of {} ms",
                           kSilentIntervals, heartbeat_.count()));
  }
  v1::AgentMessage message;
  message.mutable_heartbeat()->set_sequence(++heartbeat_sequence_);
  connection_->Send(std::move(message));
  After(life_timer_, heartbeat_, [this] { Beat(); });
}

void Client::Report() {
  if (state_ != State::kWelcomed) return;
  TellSafety(false);
  // A report tells what changed since the last one: nothing is lost while that one still waits to be written.
  if (!connection_->TelemetryWaiting()) {
    const MonotonicTime now = clock_.Now();
    TelemetryReport report;
    const auto counts = ReadCounts();
    if (counts && pacer_.ShouldSend(*counts, now)) {
      report.epoch = options_.instance;
      report.counts = &*counts;
    }
    std::optional<datapath::Figures> figures;
    if (series_pacer_.ShouldRead(book_.AnyAtWork() || book_.AnyWasAtWork(now), now)) figures = ReadFigures();
    if (figures) {
      report.series_epoch = figures->epoch;
      report.series = series_pacer_.Next(
          *figures,
          [&](auto ns, auto service) {
            return book_.AtWork(ns, service) || book_.WasAtWork(ns, service, now);
          },
          now);
    }
    for (v1::AgentMessage& message : FromReport(report, options_.telemetry_bytes)) {
      connection_->Send(std::move(message));
    }
  }
  After(telemetry_timer_, options_.telemetry_interval, [this] { Report(); });
}

std::optional<std::vector<datapath::SplitCount>> Client::ReadCounts() {
  auto counts = datapath_.ReadCounts();
  const bool failed_before = std::exchange(counts_failing_, !counts.ok());
  if (counts.ok()) return *std::move(counts);
  if (!failed_before) LogWarn("cannot read the counts", {{"error", counts.status()}});
  return std::nullopt;
}

std::optional<datapath::Figures> Client::ReadFigures() {
  auto figures = datapath_.ReadFigures();
  const bool failed_before = std::exchange(figures_failing_, !figures.ok());
  if (figures.ok()) return *std::move(figures);
  observer_.FiguresUnreadable();
  if (!failed_before) LogWarn("cannot read the figures", {{"error", figures.status()}});
  return std::nullopt;
}

void Client::End(std::string_view why, std::string message) {
  if (state_ != State::kDialled && state_ != State::kWelcomed) return;
  if (state_ == State::kWelcomed) Disconnected();
  state_ = State::kClosing;
  end_reason_ = why;
  last_error_ = std::move(message);
  life_timer_.cancel();
  telemetry_timer_.cancel();
  connection_->Close();  // OnDone follows
}

void Client::OnDone(const grpc::Status& status) {
  connection_.reset();
  if (state_ == State::kStopped) return std::exchange(stop_done_, nullptr)();
  if (state_ == State::kWelcomed) Disconnected();
  if (state_ != State::kClosing) {
    last_error_ = status.ok() ? "the controller ended the stream" : status.error_message();
  }
  Reconnect();
}

void Client::Disconnected() {
  observer_.Connected(false);
  if (companion_ != nullptr) companion_->Gone();
}

void Client::Reconnect() {
  const bool ended_well = end_reason_ == reason::kClosed || end_reason_ == reason::kSilence;
  if (ended_well && (answered_ || clock_.Now() - welcomed_at_ >= kStableAfter)) backoff_.Reset();
  state_ = State::kWaiting;
  telemetry_timer_.cancel();
  observer_.Reconnecting(end_reason_);
  const milliseconds delay = backoff_.Next();
  // While the controller is away for long: the 1st, 2nd, 4th, 8th ... attempt.
  const bool loud = std::has_single_bit(static_cast<unsigned>(backoff_.attempts()));
  Log(loud ? LogLevel::kWarn : LogLevel::kDebug, "no stream to the controller, the last split stays in force",
      {{"reason", end_reason_},
       {"error", last_error_},
       {"attempt", backoff_.attempts()},
       {"retry_in", delay}});
  After(life_timer_, delay, [this] {
    if (state_ == State::kWaiting) Dial();
  });
}

}  // namespace weir::stream
