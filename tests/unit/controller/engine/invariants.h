// What must hold for every state and event: an application in miniature around the engine, which checks each
// Decision. Shared by the property test (seeded) and the fuzz target (bytes). Header only: both only include
// it.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <iterator>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "controller/engine/engine.h"

namespace weir::engine {

/// A number in [0, bound).
using Source = std::function<uint32_t(uint32_t bound)>;

class World {
 public:
  /// `violated` gets every breach, in words. `blue_green`: no other strategy, and few steps.
  World(Source source, std::function<void(const std::string&)> violated, bool blue_green = false)
      : source_(std::move(source)), violated_(std::move(violated)), blue_green_(blue_green) {}

  const State& state() const { return state_; }
  TimePoint now() const { return now_; }

  /// Something happens: facts, commands, answers of the application, the end of the process; now and then the
  /// same twice.
  void Happen() {
    if (Chance(8) && last_) return Feed(*last_);
    switch (source_(16)) {
      case 0:
        return Feed(SpecChanged{RandomSpec()});
      case 1: {
        Spec spec = state_.spec;  // one thing only
        if (Chance(6)) {
          spec.blue_green = RandomBlueGreen();
        } else {
          if (Chance(4)) spec.on_abort = RandomOpenConnections();
          Chance(2) ? void(spec.paused = !spec.paused) : void(spec.revision = RandomRevision());
        }
        return Feed(SpecChanged{spec});
      }
      case 2:
      case 3:
        return Feed(RandomEndpoints());
      case 4:
      case 5:
      case 6:
        return AnswerPublish();
      case 7:
      case 8:
      case 9:
        return Feed(RandomAcks());
      case 10:
        now_ += Duration(source_(20'000));
        return Feed(Tick{});
      case 12:
        if (Chance(4)) return Feed(RandomTakenOut());
        return Chance(3) ? Feed(RandomEnded()) : Feed(RandomVerdict());
      case 11:
        unanswered_ = false;  // the end of the process before the effect, or just after
        return Feed(Restarted{});
      default:
        return Feed(RandomCommand());
    }
  }

  /// From here on everybody does his part: the rollout must come to its end.
  void Cooperate() {
    Spec spec = state_.spec;
    if (spec.revision.empty()) spec.revision = "v1";
    spec.paused = false;
    Feed(SpecChanged{spec});
    if (state_.spec.paused) Feed(Resume{});
    if (state_.hold != Hold::kNone) Feed(Resume{});
    if (state_.aborted) Feed(Retry{});
    Feed(EndpointsObserved{{{"v1", 1}, {"v2", 1}, {"v3", 1}, {"v4", 1}}});
    Feed(Restarted{});
    for (size_t i = 0; i < 100 && !Done(); ++i) {
      AnswerPublish();
      Feed(AcksObserved{{.generation = generation_, .desired = 2, .acked = 2}});
      if (state_.foreground && !state_.foreground->outcome) {
        Feed(AnalysisFinished{state_.foreground->id, Outcome::kSuccessful, ""});
      }
      if (Describe(state_, now_).phase != Phase::kPaused) continue;
      if (state_.pause_until) {
        now_ = std::max(now_, *state_.pause_until);
        Feed(Tick{});
      } else {
        Feed(Promote{});
      }
    }
    Check(Done(), "a rollout in which everybody does his part does not end Healthy");
    Check(state_.stable == state_.spec.revision, "Healthy, but not with the revision wanted");
  }

  void Feed(const Event& event) {
    last_ = event;
    const State before = state_;
    Decision decision = Step(before, event, now_);
    Observe(event);
    CheckDecision(before, event, decision);
    CheckRuns(before, event, decision);
    CheckTwice(event, decision);
    for (const Effect& effect : decision.effects) {
      const auto* publish = std::get_if<Publish>(&effect);
      if (publish == nullptr) continue;
      unanswered_ = true;
      if (published_ == *publish) continue;  // made again after a start: who held it still does
      published_ = *publish;
      held_generation_ = 0;
      acks_.reset();
    }
    state_ = std::move(decision.state);
    CheckState();
  }

 private:
  void Check(bool holds, const char* what) {
    if (!holds) violated_(what);
  }
  bool Chance(uint32_t one_in) { return source_(one_in) == 0; }
  bool Done() const { return Describe(state_, now_).phase == Phase::kHealthy && !unanswered_; }

  // ---- what may happen

  std::string RandomRevision() { return Chance(30) ? "" : "v" + std::to_string(1 + source_(4)); }

  Spec RandomSpec() {
    static constexpr uint32_t kMaxima[] = {100, 100, 1, 3, 1'000, 1'000'000};
    Spec spec;
    spec.revision = RandomRevision();
    spec.max_weight = kMaxima[source_(std::size(kMaxima))];
    spec.paused = Chance(8);
    spec.blue_green = RandomBlueGreen();
    spec.on_abort = RandomOpenConnections();
    spec.on_complete = RandomOpenConnections();
    if (!spec.blue_green && Chance(3)) spec.background = {Analysis{.templates = {"beside"}}, source_(4)};
    for (uint32_t n = source_(blue_green_ ? 2 : 7); n > 0; --n) {
      switch (source_(5)) {
        case 0:
          spec.steps.push_back(Pause{});
          break;
        case 2:
          spec.steps.push_back(Analysis{.templates = {"step"}});
          break;
        case 1:
          spec.steps.push_back(Pause{Duration(source_(15'000))});
          break;
        default:
          if (!spec.blue_green) spec.steps.push_back(SetWeight{source_(spec.max_weight + 1)});
      }
    }
    return spec;
  }

  OpenConnections RandomOpenConnections() {
    using Way = OpenConnections::Way;
    if (Chance(3)) return {};
    return Chance(2) ? OpenConnections{Way::kReset}
                     : OpenConnections{Way::kDrain, Duration(1 + source_(30'000))};
  }

  /// Of the present order mostly.
  ConnectionsEnded RandomEnded() {
    ConnectionsEnded ended{.number = state_.endings - (Chance(6) ? 1 : 0), .nodes = {}};
    ended.nodes["n" + std::to_string(source_(3))] = {source_(5), source_(2), Chance(4) ? "why" : ""};
    return ended;
  }

  std::optional<BlueGreen> RandomBlueGreen() {
    if (!blue_green_ && !Chance(3)) return std::nullopt;
    BlueGreen blue_green{.scale_down_delay = Duration(Chance(4) ? 0 : source_(400'000))};
    if (Chance(3)) blue_green.post_promotion = Analysis{.templates = {"post"}};
    return blue_green;
  }

  /// Mostly of a run at work, else of one that is over or never was.
  AnalysisFinished RandomVerdict() {
    static constexpr Outcome kOutcomes[] = {Outcome::kSuccessful, Outcome::kSuccessful, Outcome::kFailed,
                                            Outcome::kError, Outcome::kInconclusive};
    AnalysisFinished verdict{"v1-1-pre", kOutcomes[source_(std::size(kOutcomes))], "m"};
    const std::set<std::string>& runs = running_.empty() || Chance(5) ? all_runs_ : running_;
    if (!runs.empty()) verdict.run_id = *std::next(runs.begin(), source_(static_cast<uint32_t>(runs.size())));
    return verdict;
  }

  /// Mostly of the present canary and round.
  TakenOutObserved RandomTakenOut() {
    TakenOutObserved observed{Chance(5) ? RandomRevision() : state_.canary, state_.fail_safe_round, {}};
    if (Chance(5)) observed.round = source_(3);
    for (uint32_t n = source_(3); n > 0; --n) observed.nodes.push_back("n" + std::to_string(n));
    return observed;
  }

  EndpointsObserved RandomEndpoints() {
    EndpointsObserved observed;
    for (const char* revision : {"v1", "v2", "v3", "v4"}) {
      if (!Chance(5)) observed.ready[revision] = source_(4);
    }
    return observed;
  }

  AcksObserved RandomAcks() {
    Acks acks{.generation = Chance(8) ? source_(static_cast<uint32_t>(generation_) + 2) : generation_};
    acks.desired = source_(4);
    acks.acked = Chance(2) ? acks.desired : source_(acks.desired + 1);
    if (Chance(6)) acks.behind = {"n9"};
    if (Chance(6)) acks.refusing = {"n1: map full"};
    return {acks};
  }

  Event RandomCommand() {
    switch (source_(8)) {
      case 0:
        return Promote{Chance(4)};
      case 1:
        return Abort{};
      case 2:
        return Retry{};
      case 3:
        return UserPause{};
      case 4:
        return Resume{};
      case 5:
        return SetWeightByHand{source_(state_.spec.max_weight + 2)};
      case 6:
        return Undo{Chance(2) ? "" : RandomRevision()};
      default:
        return Promote{};
    }
  }

  void AnswerPublish() {
    if (!std::exchange(unanswered_, false)) return;
    Feed(Published{++generation_});
  }

  // ---- what the nodes hold, known apart from the engine

  void Observe(const Event& event) {
    if (const auto* answer = std::get_if<Published>(&event)) {
      if (answer->generation != held_generation_) acks_.reset();
      held_generation_ = answer->generation;
    } else if (const auto* observed = std::get_if<AcksObserved>(&event)) {
      if (held_generation_ != 0 && observed->acks.generation == held_generation_) acks_ = observed->acks;
    }
  }
  bool EverybodyHoldsIt() const { return held_generation_ != 0 && acks_ && acks_->complete(); }

  struct Share {
    uint64_t part = 0, whole = 1;
    bool operator>(const Share& other) const { return part * other.whole > other.part * whole; }
  };
  static Share ShareOf(const std::string& revision, const Publish& publish) {
    const uint64_t whole = uint64_t{publish.stable_weight} + publish.canary_weight;
    if (whole == 0) return {};
    if (revision == publish.stable) return {publish.stable_weight, whole};
    return {revision == publish.canary ? publish.canary_weight : 0, whole};
  }

  // ---- what must hold

  void CheckDecision(const State& before, const Event& event, const Decision& decision) {
    const State& after = decision.state;
    const Publish* publish = nullptr;
    bool rejected = false, woken = false;
    for (const Effect& effect : decision.effects) {
      if (const auto* found = std::get_if<Publish>(&effect)) {
        Check(publish == nullptr, "two publishes in one decision");
        publish = found;
      } else if (const auto* wake = std::get_if<WakeAt>(&effect)) {
        Check(wake->time > now_, "a wake in the past");
        woken = true;
      }
      rejected = rejected || std::holds_alternative<Reject>(effect);
    }
    if (rejected) {
      Check(decision.effects.size() == 1, "a rejection has other effects");
      Check(after == before, "a rejection changes the state");
    }
    Check(rejected || after.previous.empty() ||
              (woken && after.spec.blue_green && now_ < *after.previous_until),
          "a revision is kept too long, or nothing ends it");
    if (publish != nullptr) CheckPublish(before, after, *publish);
    Check(after.fail_safe_round == before.fail_safe_round || before.hold == Hold::kFailSafe,
          "nodes are told to go on although none had stopped");
    Check(before.hold != Hold::kFailSafe || after.hold != Hold::kNone ||
              after.fail_safe_round == before.fail_safe_round + 1,
          "the rollout goes on, and nodes that stopped are not told");
    if (std::holds_alternative<Abort>(event) && !rejected) {
      Check(after.aborted, "an abort that is not aborted");
      const Publish in_force = publish != nullptr ? *publish : published_.value_or(Publish{});
      Check(!(ShareOf(after.canary, in_force) > Share{}), "after an abort the canary has a weight");
    }
    const bool same_rollout = after.canary == before.canary && !before.aborted;
    if (same_rollout && after.step > before.step && !std::holds_alternative<Promote>(event)) {
      Check(EverybodyHoldsIt(), "a step is done that not every node has acknowledged");
    }
    if (WentBack(before, after)) {
      Check(before.previous_until && now_ < *before.previous_until, "a way back that is over");
      Check(publish != nullptr && ShareOf(after.stable, *publish).part == after.spec.max_weight,
            "the way back takes more than one generation");
    } else if (after.stable != before.stable && !before.stable.empty()) {
      Check(after.stable == before.canary && after.canary.empty(), "stable becomes what was not the canary");
      Check(EverybodyHoldsIt(), "stable changes before every node has acknowledged");
      Check(published_ && published_->stable == after.stable && published_->canary.empty() &&
                published_->stable_weight == after.spec.max_weight,
            "stable changes without its split");
      Check(published_ && published_->previous == after.previous,
            "what the flip kept is not what is kept after it");
    }
  }

  /// Nobody's connections are ended who may get new ones.
  void CheckEnding(const Ending& ending) {
    Check(ending.revision != state_.stable, "stable's connections are ended");
    Check(state_.canary != ending.revision || state_.aborted,
          "the connections of a canary at work are ended");
    Check(ending.ordered || ending.nodes.empty(), "an answer without an order");
    if (!ending.ordered) return;
    Check(ending.generation != 0 && ending.generation <= generation_, "an order of no generation");
    Check(!ending.drain || (ending.due && *ending.due <= now_), "a drain that ends too early");
    Check(published_ && !(ShareOf(ending.revision, *published_) > Share{}),
          "the connections of a revision that has a weight are ended");
  }

  /// What the application would have at work is what the state holds, and a verdict does what it must.
  void CheckRuns(const State& before, const Event& event, const Decision& decision) {
    const State& after = decision.state;
    const auto* verdict = std::get_if<AnalysisFinished>(&event);
    const bool news = verdict != nullptr && running_.erase(verdict->run_id) > 0;
    if (verdict != nullptr && !news) Check(after == before, "a stale verdict changes the state");
    const bool bad = news && (verdict->outcome == Outcome::kFailed || verdict->outcome == Outcome::kError);
    if (bad) Check(after.aborted && !after.reason.empty(), "a bad verdict does not abort");
    if (news && verdict->outcome == Outcome::kInconclusive) {
      Check(Describe(after, now_).phase == Phase::kPaused && after.hold == Hold::kInconclusive,
            "an Inconclusive one does not pause");
    }
    for (const Effect& effect : decision.effects) {
      if (const auto* start = std::get_if<StartAnalysis>(&effect)) {
        Check(start->stable == after.stable && start->canary == after.canary && !start->canary.empty(),
              "a run of other revisions");
        const bool known = !all_runs_.insert(start->run_id).second;
        Check(!known || std::holds_alternative<Restarted>(event), "a run's name is used twice");
        running_.insert(start->run_id);
      } else if (const auto* stop = std::get_if<StopAnalysis>(&effect)) {
        Check(running_.erase(stop->run_id) > 0, "a run that is not at work is stopped");
      }
    }
    std::set<std::string> held;
    for (const auto* slot : {&after.foreground, &after.background}) {
      if (*slot && !(*slot)->outcome) held.insert((*slot)->id);
    }
    Check(held == running_, "the runs at work are not those of the state");
    Check(held.empty() || (!after.canary.empty() && !after.aborted), "a run without a rollout");
  }

  /// Stable is the revision that was kept, without steps.
  static bool WentBack(const State& before, const State& after) {
    return !before.previous.empty() && after.stable == before.previous && after.previous.empty() &&
           (after.canary.empty() || (after.canary == before.stable && after.aborted));
  }

  void CheckPublish(const State& before, const State& after, const Publish& publish) {
    Check(!publish.stable.empty(), "a publish without a stable revision");
    Check(uint64_t{publish.stable_weight} + publish.canary_weight == after.spec.max_weight,
          "published weights do not add up to the maximum");
    Check(!publish.canary.empty() || publish.canary_weight == 0, "a weight for no canary");
    Check(publish.canary != publish.stable, "stable and canary are the same");
    if (publish.stable != after.stable) {
      Check(after.finishing && publish.stable == after.canary && publish.canary.empty(),
            "another revision than stable takes over before the end");
    }
    Check(publish.previous.empty() ||
              (publish.previous != publish.stable && publish.previous != publish.canary),
          "a revision is published twice");
    Check(publish.previous.empty() || after.spec.blue_green, "a revision is kept without blue-green");
    Check(!after.spec.blue_green || publish.canary_weight == 0 || publish.stable_weight == 0 ||
              !before.spec.blue_green,
          "blue-green divides traffic");
    if (!publish.canary.empty())
      Check(publish.canary == after.canary, "a revision that is no canary is published");
    if (published_ && !after.canary.empty() && !before.stable.empty() &&
        ShareOf(after.canary, publish) > ShareOf(after.canary, *published_)) {
      Check(EverybodyHoldsIt(), "a raise before every node has acknowledged");
      const auto ready = after.ready.find(after.canary);
      Check(ready != after.ready.end() && ready->second > 0, "a raise without a ready endpoint");
      Check(!after.aborted, "a raise of an aborted canary");
    }
  }

  /// The same fact twice is the fact once; so is the start of the process, but for its repeated publish.
  void CheckTwice(const Event& event, const Decision& decision) {
    std::visit(
        [&](const auto& concrete) {
          using E = std::decay_t<decltype(concrete)>;
          constexpr bool fact = std::is_same_v<E, SpecChanged> || std::is_same_v<E, EndpointsObserved> ||
                                std::is_same_v<E, Published> || std::is_same_v<E, AcksObserved> ||
                                std::is_same_v<E, Tick> || std::is_same_v<E, AnalysisFinished> ||
                                std::is_same_v<E, ConnectionsEnded>;
          if constexpr (fact || std::is_same_v<E, Restarted>) {
            const Decision again = Step(decision.state, event, now_);
            Check(again.state == decision.state, "the same fact twice changes the state");
            for (const Effect& effect : again.effects) {
              if (const auto* publish = std::get_if<Publish>(&effect)) {
                Check(!fact, "the same fact twice publishes");
                Check(publish->canary_weight == decision.state.published_weight,
                      "a restart publishes something new");
              }
            }
          }
        },
        event);
  }

  void CheckState() {
    const State& s = state_;
    const Description description = Describe(s, now_);
    Check((description.phase == Phase::kHealthy) == (!s.stable.empty() && s.canary.empty()),
          "Healthy is: stable, and no canary");
    Check((description.phase == Phase::kDegraded) == (s.aborted && !s.canary.empty()),
          "Degraded is: aborted");
    Check(s.canary.empty() || s.canary != s.stable, "the canary is stable");
    Check(s.history.size() <= kHistory, "too much history");
    Check(s.previous.empty() == !s.previous_until.has_value(), "a revision is kept for no time");
    Check(s.previous.empty() || (!s.history.empty() && s.history.back() == s.previous),
          "what is kept is not the revision before");
    if (s.ending) CheckEnding(*s.ending);
    Check(s.stable.empty() == !published_.has_value(),
          "a stable revision is published, and nothing before it");
    if (!published_ || s.canary.empty()) return;

    uint64_t ceiling = 0;
    for (uint32_t i = 0; i < s.spec.steps.size() && i <= s.step; ++i) {
      if (const auto* set = std::get_if<SetWeight>(&s.spec.steps[i]))
        ceiling = std::max<uint64_t>(ceiling, set->weight);
    }
    if (s.manual_weight) ceiling = *s.manual_weight;
    if (s.finishing) ceiling = s.spec.max_weight;
    if (s.aborted) ceiling = 0;
    Check(!(ShareOf(s.canary, *published_) > Share{ceiling, s.spec.max_weight}),
          "the canary's weight is above what the steps allow");
  }

  Source source_;
  std::function<void(const std::string&)> violated_;
  const bool blue_green_;
  State state_;
  TimePoint now_{Duration{1'700'000'000'000}};
  std::optional<Event> last_;
  uint64_t generation_ = 0;
  bool unanswered_ = false;
  std::set<std::string> running_, all_runs_;
  std::optional<Publish> published_;  // the last one
  uint64_t held_generation_ = 0;      // its generation, 0 until answered
  std::optional<Acks> acks_;          // of that generation
};

}  // namespace weir::engine
