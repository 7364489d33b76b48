// Any sequence of events: what is published is never more than the steps allow, never nothing at all, and
// never raised before every node that counts holds what went before.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "controller/engine/engine.h"

namespace weir::engine {
namespace {

/// Numbers from the fuzzer's bytes; zeros when they are used up.
class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), end_(data + size) {}
  bool empty() const { return data_ == end_; }
  uint32_t Below(uint32_t bound) { return (empty() ? 0U : *data_++) % bound; }

 private:
  const uint8_t* data_;
  const uint8_t* end_;
};

void Check(bool holds, const char* rule) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", rule);
  std::abort();
}

std::string AnyRevision(Bytes& bytes) { return "v" + std::to_string(bytes.Below(4)); }

OpenConnections AnyOpenConnections(Bytes& bytes) {
  using Way = OpenConnections::Way;
  const auto way = static_cast<Way>(bytes.Below(3));
  return {way, std::chrono::seconds(way == Way::kDrain ? 1 + bytes.Below(60) : 0)};
}

SetCanaryScale AnyScale(Bytes& bytes) {
  switch (bytes.Below(3)) {
    case 0:
      return {.replicas = 1 + bytes.Below(12)};
    case 1:
      return {.percent = 1 + bytes.Below(100)};
    default:
      return {};
  }
}

Spec AnySpec(Bytes& bytes) {
  Spec spec;
  spec.revision = AnyRevision(bytes);
  spec.max_weight = bytes.Below(4) == 0 ? 1000 : 100;
  spec.paused = bytes.Below(8) == 0;
  if (bytes.Below(4) == 0)
    spec.blue_green = BlueGreen{.scale_down_delay = std::chrono::seconds(bytes.Below(60))};
  if (spec.blue_green && bytes.Below(2) == 0) spec.blue_green->post_promotion.emplace();
  if (!spec.blue_green && bytes.Below(4) == 0) spec.background = {Analysis{}, bytes.Below(4)};
  spec.on_abort = AnyOpenConnections(bytes);
  spec.on_complete = AnyOpenConnections(bytes);
  spec.scaled = bytes.Below(3) == 0;
  const uint32_t steps = bytes.Below(5);
  for (uint32_t i = 0; i < steps; ++i) {
    switch (bytes.Below(spec.scaled ? 5 : 4)) {
      case 4:
        spec.steps.push_back(AnyScale(bytes));
        break;
      case 3:
        spec.steps.push_back(Analysis{});
        break;
      case 0:
        spec.steps.push_back(Pause{});
        break;
      case 1:
        spec.steps.push_back(Pause{std::chrono::seconds(bytes.Below(60))});
        break;
      default:
        spec.steps.push_back(SetWeight{bytes.Below(101)});
    }
  }
  return spec;
}

std::map<std::string, uint32_t> AnyEndpoints(Bytes& bytes) {
  std::map<std::string, uint32_t> ready;
  for (int i = 0; i < 4; ++i) ready["v" + std::to_string(i)] = bytes.Below(12);
  return ready;
}

Acks AnyAcks(Bytes& bytes, uint64_t generation) {
  Acks acks;
  acks.generation = generation - (bytes.Below(8) == 0 && generation > 0 ? 1 : 0);
  acks.desired = bytes.Below(4);
  acks.acked = std::min(bytes.Below(5), acks.desired);
  if (acks.acked < acks.desired && bytes.Below(2) == 1) acks.refusing.push_back("node: map is full");
  if (bytes.Below(4) == 0) acks.behind.push_back("far");
  return acks;
}

/// Of the run at work, or of none.
AnalysisFinished AnyVerdict(Bytes& bytes, const State& state) {
  AnalysisFinished verdict{"v1-1-step-1", static_cast<Outcome>(bytes.Below(4)), ""};
  const auto& slot = bytes.Below(2) == 0 ? state.foreground : state.background;
  if (slot) verdict.run_id = slot->id;
  return verdict;
}

/// Of the canary in the present round, or of another.
TakenOutObserved AnyTakenOut(Bytes& bytes, const State& state) {
  TakenOutObserved taken{state.canary, state.fail_safe_round, {}};
  if (bytes.Below(4) == 0) taken.canary = AnyRevision(bytes);
  if (bytes.Below(4) == 0) taken.round = bytes.Below(3);
  for (uint32_t i = bytes.Below(3); i > 0; --i) taken.nodes.push_back("node-" + std::to_string(i));
  return taken;
}

/// Of an order that stands, or of one that nobody knows: none is answered before it is given.
ConnectionsEnded AnyEnded(Bytes& bytes, const State& state) {
  const bool known = state.ending && state.ending->ordered && bytes.Below(4) != 0;
  ConnectionsEnded ended{known ? state.ending->number : 1'000'000, {}};
  for (uint32_t i = bytes.Below(3); i > 0; --i)
    ended.nodes["node-" + std::to_string(i)] = {bytes.Below(100), bytes.Below(2),
                                                bytes.Below(2) == 0 ? "" : "why"};
  return ended;
}

Event AnyEvent(Bytes& bytes, const State& state, uint64_t generation) {
  const Spec& given = state.given;
  switch (bytes.Below(22)) {
    case 18:
    case 19:
      return ReplicasObserved{bytes.Below(12)};
    case 20:
      return AnyTakenOut(bytes, state);
    case 21:
      return AnyEnded(bytes, state);
    case 16:
    case 17:
      return AnyVerdict(bytes, state);
    case 0:
      return SpecChanged{AnySpec(bytes)};
    case 1: {
      Spec spec = given;
      spec.revision = AnyRevision(bytes);
      return SpecChanged{std::move(spec)};
    }
    case 2:
      return EndpointsObserved{AnyEndpoints(bytes)};
    case 3:
      return Restarted{};
    case 4:
      return Promote{bytes.Below(4) == 0};
    case 5:
      return Abort{};
    case 6:
      return Retry{};
    case 7:
      return UserPause{};
    case 8:
      return Resume{};
    case 9:
      return SetWeightByHand{bytes.Below(120)};
    case 10:
      return Undo{bytes.Below(2) == 0 ? "" : AnyRevision(bytes)};
    case 11:
      return Tick{};
    case 12:
      return AcksObserved{{.generation = generation, .desired = 2, .acked = 2}};
    default:
      return AcksObserved{AnyAcks(bytes, generation)};
  }
}

bool IsCommand(const Event& event) {
  return std::holds_alternative<Promote>(event) || std::holds_alternative<Abort>(event) ||
         std::holds_alternative<Retry>(event) || std::holds_alternative<UserPause>(event) ||
         std::holds_alternative<Resume>(event) || std::holds_alternative<SetWeightByHand>(event) ||
         std::holds_alternative<Undo>(event);
}

/// The controller around the engine, as simple as can be: it publishes, and remembers what is in force and
/// who holds it.
class World {
 public:
  const State& state() const { return state_; }
  uint64_t generation() const { return generation_; }
  void Pass(Duration time) { now_ += time; }

  void Feed(const Event& event) {
    const State before = state_;
    if (const auto* seen = std::get_if<AcksObserved>(&event)) {
      if (seen->acks.generation == generation_) {
        all_hold_ = seen->acks.acked >= seen->acks.desired && seen->acks.refusing.empty();
      }
    }
    const bool may_raise = all_hold_;
    Decision decision = Step(state_, event, now_);
    state_ = decision.state;
    const bool rejected = TakeEffects(decision.effects, before, may_raise);
    CheckProgress(before, event, rejected, may_raise);
    CheckWeights();
    if (!IsCommand(event)) {
      Check(Step(state_, event, now_).state == state_, "the same fact twice does no harm");
    }
    if (std::exchange(unnumbered_, false)) {
      ++generation_;
      all_hold_ = false;
      Feed(Published{generation_});
    }
  }

 private:
  bool TakeEffects(const std::vector<Effect>& effects, const State& before, bool may_raise) {
    bool rejected = false;
    for (const Effect& effect : effects) {
      if (const auto* publish = std::get_if<Publish>(&effect)) {
        CheckPublish(*publish, may_raise);
        unnumbered_ = unnumbered_ || in_force_ != *publish;
        in_force_ = *publish;
      } else if (std::holds_alternative<Reject>(effect)) {
        rejected = true;
        Check(effects.size() == 1, "a rejected command has no other effect");
        Check(state_ == before, "a rejected command changes nothing");
      } else if (const auto* wake = std::get_if<WakeAt>(&effect)) {
        Check(wake->time > now_, "it wakes in the future");
      }
    }
    return rejected;
  }

  /// Of the whole, in a billion: weights under different totals compare.
  static uint64_t Share(const Publish& publish, const std::string& revision) {
    const uint64_t all = uint64_t{publish.stable_weight} + publish.canary_weight;
    if (all == 0) return 0;
    uint64_t weight = 0;
    if (publish.stable == revision) weight += publish.stable_weight;
    if (publish.canary == revision) weight += publish.canary_weight;
    return weight * 1'000'000'000 / all;
  }

  void CheckPublish(const Publish& publish, bool may_raise) const {
    Check(!publish.stable.empty(), "a publish names its stable revision");
    Check(publish.stable != publish.canary, "stable and canary differ");
    Check(uint64_t{publish.stable_weight} + publish.canary_weight > 0, "the weights are never all zero");
    Check(!publish.canary.empty() || publish.canary_weight == 0, "no weight for nobody");
    Check(publish.previous.empty() || (state_.spec.blue_green && publish.previous != publish.stable &&
                                       publish.previous != publish.canary),
          "only blue-green keeps a revision, and one that is not in the split already");
    if (!state_.canary.empty() && !may_raise && Share(publish, state_.canary) > 0) {
      Check(Share(publish, state_.canary) <= Share(in_force_, state_.canary),
            "no raise before all that count hold what went before");
    }
    if (state_.spec.scaled && Share(publish, state_.canary) > Share(in_force_, state_.canary)) {
      const auto ready = state_.ready.find(state_.canary);
      Check(ready != state_.ready.end() && CanaryPods(state_) && ready->second >= *CanaryPods(state_),
            "no raise before the pods for it are there");
    }
  }

  void CheckProgress(const State& before, const Event& event, bool rejected, bool may_raise) const {
    const bool same_rollout = before.canary == state_.canary && before.stable == state_.stable;
    if (same_rollout && state_.step > before.step && !std::holds_alternative<Promote>(event)) {
      Check(may_raise, "a step is done when all that count hold its weights");
      for (uint32_t i = before.step; i < state_.step; ++i) {
        const auto* pause = std::get_if<Pause>(&state_.spec.steps[i]);
        if (pause == nullptr) continue;
        Check(pause->duration.has_value(), "a pause without an end ends by promotion only");
        Check(i > before.step || *pause->duration == Duration{0} ||
                  (before.pause_started && now_ - *before.pause_started >= *pause->duration),
              "a pause lasts as long as it says");
      }
    }
    const bool back = !before.previous.empty() && before.previous == state_.stable && state_.previous.empty();
    if (back) {
      Check(before.previous_until && now_ < *before.previous_until, "the way back ends when it should");
      Check(in_force_.stable == state_.stable && in_force_.canary_weight == 0,
            "the way back is one generation and waits for nobody");
    } else if (before.stable != state_.stable && !before.stable.empty()) {
      Check(before.canary == state_.stable, "only the canary becomes stable");
      Check(may_raise && before.finishing, "stable changes when all that count hold the last weights");
    }
    for (const auto* slot : {&state_.foreground, &state_.background}) {
      Check(!*slot || (!state_.canary.empty() && !state_.aborted), "no run without a rollout");
    }
    if (const auto* verdict = std::get_if<AnalysisFinished>(&event)) {
      const bool bad = verdict->outcome == Outcome::kFailed || verdict->outcome == Outcome::kError;
      for (const auto* slot : {&before.foreground, &before.background}) {
        if (bad && *slot && (*slot)->id == verdict->run_id && !(*slot)->outcome)
          Check(state_.aborted, "a bad verdict aborts");
      }
    }
    if (std::holds_alternative<Abort>(event) && !rejected) Check(state_.aborted, "abort aborts");
  }

  void CheckWeights() const {
    if (state_.stable.empty()) return;
    Check(in_force_.stable == state_.published_stable && in_force_.canary == state_.published_canary,
          "the state knows what it published");
    if (state_.canary.empty()) {
      Check(Share(in_force_, state_.stable) == 1'000'000'000, "between rollouts all traffic is stable's");
      return;
    }
    const uint64_t share = Share(in_force_, state_.canary);
    Check(share + Share(in_force_, state_.stable) == 1'000'000'000 ||
              share + Share(in_force_, state_.stable) == 999'999'999,  // both rounded down
          "only stable and canary have weight");
    const auto ready = state_.ready.find(state_.canary);
    if (state_.aborted) Check(share == 0, "abort ends at 0");
    if (ready == state_.ready.end() || ready->second == 0) {
      Check(share == 0, "no weight for a revision without a ready endpoint");
    }
    if (state_.finishing) return;
    if (state_.spec.blue_green) Check(share == 0, "blue-green gives nothing before the flip");
    uint64_t allowed = 0;
    for (uint32_t i = 0; i <= state_.step && i < state_.spec.steps.size(); ++i) {
      if (const auto* set = std::get_if<SetWeight>(&state_.spec.steps[i])) allowed = set->weight;
    }
    if (state_.manual_weight) allowed = *state_.manual_weight;
    Check(share <= allowed * 1'000'000'000 / state_.spec.max_weight, "never more than the steps allow");
  }

  State state_;
  TimePoint now_{std::chrono::hours(1)};
  Publish in_force_;
  uint64_t generation_ = 0;
  bool all_hold_ = false;
  bool unnumbered_ = false;
};

/// When all goes well from here on, the rollout ends.
void CheckEnds(World& world) {
  world.Feed(ReplicasObserved{2});
  world.Feed(EndpointsObserved{{{"v0", 2}, {"v1", 2}, {"v2", 2}, {"v3", 2}}});
  for (int i = 0; i < 100 && !world.state().canary.empty() && !world.state().aborted; ++i) {
    world.Feed(AcksObserved{{.generation = world.generation(), .desired = 1, .acked = 1}});
    world.Pass(std::chrono::minutes(1));
    world.Feed(Tick{});
    if (const auto& run = world.state().foreground; run && !run->outcome)
      world.Feed(AnalysisFinished{run->id, Outcome::kSuccessful, ""});
    world.Feed(Promote{});
  }
  const State& state = world.state();
  Check(state.canary.empty() || state.aborted, "a rollout that nothing holds back ends");
  Check(
      state.canary.empty() == (Describe(state, TimePoint{}).phase == Phase::kHealthy) || state.stable.empty(),
      "a rollout that ended is healthy");
}

void Run(Bytes bytes) {
  World world;
  while (!bytes.empty()) {
    world.Pass(std::chrono::seconds(bytes.Below(20)));
    world.Feed(AnyEvent(bytes, world.state(), world.generation()));
  }
  CheckEnds(world);
}

}  // namespace
}  // namespace weir::engine

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  weir::engine::Run(weir::engine::Bytes(data, size));
  return 0;
}
