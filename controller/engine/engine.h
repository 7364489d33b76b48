// The step machine of one rollout: pure. No clock, no I/O, no randomness; standard library only.
//
// The application persists the new State before it carries out any effect, and feeds what came of the effects
// back as events. Effects may be carried out twice (after a crash): all are idempotent.
//
//   spec, endpoints, acks, verdicts, time, commands
//     --Step--> State + {Publish, StartAnalysis, StopAnalysis, WakeAt, SetRevision, Reject, Note}
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace weir::engine {

/// Wall clock: a pause goes on through a restart of the controller.
using TimePoint = std::chrono::sys_time<std::chrono::milliseconds>;
using Duration = std::chrono::milliseconds;

struct SetWeight {
  uint32_t weight = 0;  // of Spec::max_weight
  bool operator==(const SetWeight&) const = default;
};
struct Pause {
  std::optional<Duration> duration;  // none: until promoted
  bool operator==(const Pause&) const = default;
};

/// An argument of an analysis template: a text, or a revision of the rollout.
struct AnalysisArg {
  enum class From { kValue, kStable, kLatest };  // Argo's podTemplateHashValue: Stable, Latest
  std::string name;
  std::string value;
  From from = From::kValue;
  bool operator==(const AnalysisArg&) const = default;
};
struct AnalysisRetention {
  std::string metric;  // a pattern
  uint32_t limit = 0;
  bool operator==(const AnalysisRetention&) const = default;
};
/// What to analyse; nothing of it is understood here.
struct Analysis {
  std::vector<std::string> templates;
  std::vector<AnalysisArg> args;
  std::vector<std::string> dry_run;  // patterns of metric names
  std::vector<AnalysisRetention> retention;
  bool until_confident = false;   // wait for the evidence that the canary is not worse
  std::optional<Duration> limit;  // of that
  bool operator==(const Analysis&) const = default;
};
/// How many pods the canary has from here on, whatever its weight; none of the two: as many as its weight
/// asks for.
struct SetCanaryScale {
  std::optional<uint32_t> replicas;
  std::optional<uint32_t> percent;  // of the workload's replicas
  bool operator==(const SetCanaryScale&) const = default;
};
/// Beside the steps, from one of them on.
struct BackgroundAnalysis {
  Analysis analysis;
  uint32_t starting_step = 0;
  bool operator==(const BackgroundAnalysis&) const = default;
};
using RolloutStep = std::variant<SetWeight, Pause, Analysis, SetCanaryScale>;

/// All traffic at once, and the revision before kept for a way back. The steps (analysis, pause) come before
/// the flip.
struct BlueGreen {
  Duration scale_down_delay{30'000};       // how long, from the end of the rollout; 0: not at all
  std::optional<Analysis> post_promotion;  // between the flip and the end
  bool operator==(const BlueGreen&) const = default;
};

/// What becomes of connections that are open to a revision that gets no new ones any more.
struct OpenConnections {
  enum class Way { kKeep, kDrain, kReset };
  Way way = Way::kKeep;
  Duration deadline{0};  // kDrain: how long they may last from when every node has taken the weights
  bool operator==(const OpenConnections&) const = default;
};

/// What the user wants.
struct Spec {
  std::string revision;
  std::vector<RolloutStep> steps;
  uint32_t max_weight = 100;  // a setWeight of this much is all traffic
  bool paused = false;
  std::optional<BlueGreen> blue_green;  // none: canary
  std::optional<BackgroundAnalysis> background;
  OpenConnections on_abort, on_complete;  // the canary's; those of the stable revision before
  bool scaled =
      false;  // the canary's pods are made for the rollout: no weight before there are enough of them
  bool operator==(const Spec&) const = default;
};

enum class Phase { kProgressing, kPaused, kHealthy, kDegraded };

/// Argo's words.
const char* PhaseName(Phase phase);

/// What the application saw of the nodes: of the newest generation this rollout published.
struct Acks {
  uint64_t generation = 0;
  uint32_t desired = 0;               // agents that count: connected, or away for less than ackTimeout
  uint32_t acked = 0;                 // of those, who hold `generation` or a later one
  std::vector<std::string> behind;    // away longer: their own fail safe looks after them
  std::vector<std::string> refusing;  // "node: reason"
  bool operator==(const Acks&) const = default;
  bool complete() const { return acked >= desired && refusing.empty(); }
};

/// How far the present weights have come.
enum class Delivery {
  kNone,       // nothing to publish, or nothing published yet
  kPublished,  // in force at the controller under State::generation, on its way to the agents
  kAcked,      // every agent that counts holds it
};

/// Why the rollout stands still although no step asks for it.
enum class Hold {
  kNone,
  kUser,          // `pause`, or a weight set by hand: until resume or promote
  kInconclusive,  // an analysis could not tell, State::reason says which: until resume or promote
  kFailSafe,      // nodes took the canary out by themselves, State::reason says which: likewise
};

enum class AnalysisWhere { kStep, kBackground, kPrePromotion, kPostPromotion };
enum class Outcome { kSuccessful, kFailed, kError, kInconclusive };

/// Argo's words.
const char* OutcomeName(Outcome outcome);
/// "analysis at step 2", "background analysis".
std::string AnalysisText(AnalysisWhere where, uint32_t step);

/// A run that was asked for, and what came of it.
struct AnalysisRun {
  std::string id;
  AnalysisWhere where = AnalysisWhere::kStep;
  uint32_t step = 0;  // at which it began
  Analysis analysis;
  std::optional<Outcome> outcome;  // none: it is at work
  bool operator==(const AnalysisRun&) const = default;
};

/// What one node made of an Ending. Cumulative: the same again, or more, replaces what was said before.
struct NodeEnded {
  uint64_t connections = 0;  // ended
  uint64_t left = 0;         // that could not be
  std::string trouble;       // why; or why the node cannot end any
  bool operator==(const NodeEnded&) const = default;
};

/// Open connections that are ended, or are going to be. While `ordered` holds, the order stands for every
/// node that has not answered: it is repeated to nodes that come back, and void as soon as this is gone.
struct Ending {
  uint32_t number = 0;  // of this rollout's endings; part of the order's name
  std::string revision;
  bool completed = false;         // the rollout was completed; else aborted
  std::optional<Duration> drain;  // none: at once
  std::optional<TimePoint> due;   // of a drain, once every node has taken the weights
  bool ordered = false;
  uint64_t generation = 0;  // once ordered: a node that holds it gives the revision no connections
  std::map<std::string, NodeEnded> nodes;  // those that have answered
  bool operator==(const Ending&) const = default;
};

struct State {
  Spec spec;           // what is wanted: as given, but for undo and resume
  Spec given;          // as given last: the same again changes nothing
  std::string stable;  // revision that serves all but the canary's share; empty before the first
  std::string canary;  // revision being rolled out; empty when none is
  std::vector<std::string> history;  // earlier stable revisions, oldest first; at most kHistory
  std::string previous;  // blue-green: the stable revision before, kept in the split; empty when none is
  std::optional<TimePoint> previous_until;  // set as long as `previous` is
  uint32_t step = 0;                        // index into spec.steps; its size when all are done
  bool finishing = false;                   // past the last step: the canary takes over
  bool aborted = false;                   // spec.revision is `canary`'s and is not tried again without retry
  bool full = false;                      // promoted through all steps and analyses
  std::string reason;                     // of an abort or a hold that no person asked for
  uint32_t attempt = 0;                   // counts beginnings, of whatever revision; part of a run's id
  uint32_t background_runs = 0;           // of this attempt, ended ones
  std::optional<AnalysisRun> foreground;  // of the present step, or after promotion
  std::optional<AnalysisRun> background;
  Hold hold = Hold::kNone;
  std::optional<uint32_t>
      manual_weight;  // set by hand, or 0 of a spec paused at its start; until the hold ends
  std::optional<TimePoint> pause_started;  // of the present pause step
  std::optional<TimePoint> pause_until;    // none: indefinite
  std::map<std::string, uint32_t> ready;   // ready endpoints per revision, as last seen
  std::optional<uint32_t> replicas;        // of the workload, as last seen; only where Spec::scaled
  uint32_t published_weight = 0;           // the canary's, of spec.max_weight, as last published
  uint32_t published_max_weight = 100;     // the whole of which it is a part
  std::string published_stable, published_canary, published_previous;
  // What nodes did by themselves holds on them until this is another number: every hold by them that ends.
  uint32_t fail_safe_round = 0;
  uint32_t published_round = 0;
  uint64_t generation = 0;  // of the last publish; 0 until the application answers
  Delivery delivery = Delivery::kNone;
  Acks acks;
  std::optional<TimePoint> started;  // of the rollout in progress, or of the last
  std::optional<Ending> ending;      // the newest; a beginning cancels it
  uint32_t endings = 0;              // counts them
  bool operator==(const State&) const = default;
};

inline constexpr size_t kHistory = 10;

// ---- events: observed facts and commands

struct SpecChanged {
  Spec spec;
  bool operator==(const SpecChanged&) const = default;
};
/// Ready endpoints of every revision the service has.
struct EndpointsObserved {
  std::map<std::string, uint32_t> ready;
  bool operator==(const EndpointsObserved&) const = default;
};
/// How many pods the workload shall have. Only where Spec::scaled.
struct ReplicasObserved {
  uint32_t replicas = 0;
  bool operator==(const ReplicasObserved&) const = default;
};
/// The application has put a Publish into the generation.
struct Published {
  uint64_t generation = 0;
  bool operator==(const Published&) const = default;
};
struct AcksObserved {
  Acks acks;
  bool operator==(const AcksObserved&) const = default;
};
/// "Look again": a WakeAt has come due, or the application has just started and wants all that is due.
struct Tick {
  bool operator==(const Tick&) const = default;
};
struct Restarted {
  bool operator==(const Restarted&) const = default;
};
struct Promote {
  bool full = false;
  bool operator==(const Promote&) const = default;
};
struct Abort {
  bool operator==(const Abort&) const = default;
};
struct Retry {
  bool operator==(const Retry&) const = default;
};
struct UserPause {
  bool operator==(const UserPause&) const = default;
};
struct Resume {
  bool operator==(const Resume&) const = default;
};
struct SetWeightByHand {
  uint32_t weight = 0;
  bool operator==(const SetWeightByHand&) const = default;
};
struct Undo {
  std::string to_revision;  // empty: the stable one during a rollout, else the one before
  bool operator==(const Undo&) const = default;
};
/// A run that StartAnalysis asked for has ended by itself. Others, and the same again, are no news.
struct AnalysisFinished {
  std::string run_id;
  Outcome outcome = Outcome::kSuccessful;
  std::string message;  // which metric, and why
  bool operator==(const AnalysisFinished&) const = default;
};
/// Nodes that gave the canary's traffic to stable by themselves: all that have told so, and are exposed to it
/// in the present round. Level, not edge: the same again is no news.
struct TakenOutObserved {
  std::string canary;  // revision
  uint32_t round = 0;
  std::vector<std::string> nodes;  // "node-1: no controller was heard"
  bool operator==(const TakenOutObserved&) const = default;
};
/// Nodes have answered the order of State::ending. Of another number: no news.
struct ConnectionsEnded {
  uint32_t number = 0;
  std::map<std::string, NodeEnded> nodes;
  bool operator==(const ConnectionsEnded&) const = default;
};
using Event = std::variant<AnalysisFinished, ConnectionsEnded, SpecChanged, EndpointsObserved,
                           ReplicasObserved, Published, AcksObserved, TakenOutObserved, Tick, Restarted,
                           Promote, Abort, Retry, UserPause, Resume, SetWeightByHand, Undo>;

// ---- effects

/// These weights shall be in force from the next generation on. The sum is above 0 unless `stable` is empty.
struct Publish {
  std::string stable, canary;  // canary may be empty
  uint32_t stable_weight = 0, canary_weight = 0;
  std::string previous = {};  // held by the nodes with weight 0, so that the way back is short; may be empty
  uint32_t round = 0;         // State::fail_safe_round
  bool operator==(const Publish&) const = default;
};
/// Feed a Tick at that time; replaces an earlier one.
struct WakeAt {
  TimePoint time;
  bool operator==(const WakeAt&) const = default;
};
/// The wanted revision has changed from within (undo): store it in the object.
struct SetRevision {
  std::string revision;
  bool operator==(const SetRevision&) const = default;
};
/// The command makes no sense now; State is unchanged.
struct Reject {
  std::string reason;
  bool operator==(const Reject&) const = default;
};
/// For the log and the object's events.
struct Note {
  std::string text;
  bool operator==(const Note&) const = default;
};
/// Carry out this run, unless it is at work or over already; its answer is AnalysisFinished.
struct StartAnalysis {
  std::string run_id;
  AnalysisWhere where = AnalysisWhere::kStep;
  uint32_t step = 0;
  Analysis analysis;
  std::string stable, canary;  // revisions
  bool operator==(const StartAnalysis&) const = default;
};
/// The run is of no use any more; no answer is wanted.
struct StopAnalysis {
  std::string run_id;
  bool operator==(const StopAnalysis&) const = default;
};
using Effect = std::variant<Publish, WakeAt, SetRevision, Reject, Note, StartAnalysis, StopAnalysis>;

struct Decision {
  State state;
  std::vector<Effect> effects;
};

/// One event. Total: defined for every state and event; the same event twice does no harm.
[[nodiscard]] Decision Step(const State& state, const Event& event, TimePoint now);

/// Whether the event says something that the state does not know yet.
[[nodiscard]] bool IsNews(const State& state, const TakenOutObserved& event);

/// How many pods of the canary there shall be; 0 without one, or when it was aborted. nullopt: not
/// Spec::scaled, or the workload has not been seen yet.
[[nodiscard]] std::optional<uint32_t> CanaryPods(const State& state);

/// What people see, derived from a State.
struct Description {
  Phase phase = Phase::kHealthy;
  std::string message;  // what it waits for, or what went wrong; empty when there is nothing to say
  uint32_t canary_weight = 0;
  std::optional<Duration> pause_remaining;  // of a pause with an end
  bool paused = false;
  std::optional<Duration> previous_remaining;  // how long State::previous is still kept
  std::string ending;                          // of State::ending, in words; part of the message too
};
[[nodiscard]] Description Describe(const State& state, TimePoint now);

/// Sums over the nodes that have answered.
struct EndedSum {
  uint64_t connections = 0, left = 0;
  std::vector<std::string> troubles;  // "node: why"
};
[[nodiscard]] EndedSum SumOf(const Ending& ending);
/// "ended 37 connections of revision v2 on 2 nodes".
[[nodiscard]] std::string DescribeEnding(const State& state, TimePoint now);

}  // namespace weir::engine
