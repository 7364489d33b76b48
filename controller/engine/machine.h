// One Step in the making. Private to this folder.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "controller/engine/engine.h"

namespace weir::engine {

/// The canary's weight by its step, once its pods are ready; 0 without a canary, or when it was aborted.
uint32_t TargetWeight(const State& state);

/// The state, what comes of it, and the time.
class Machine {
 public:
  Machine(State state, TimePoint now) : state_(std::move(state)), now_(now) {}

  void On(const SpecChanged& event);
  void On(const EndpointsObserved& event) { state_.ready = event.ready; }
  void On(const ReplicasObserved& event) { state_.replicas = event.replicas; }
  void On(const Published& event);
  void On(const AcksObserved& event);
  void On(const Tick&) {}
  void On(const Restarted&);
  void On(const Promote& event);
  void On(const Abort&);
  void On(const Retry&);
  void On(const UserPause&);
  void On(const Resume&);
  void On(const SetWeightByHand& event);
  void On(const Undo& event);
  void On(const AnalysisFinished& event);
  void On(const TakenOutObserved& event);
  void On(const ConnectionsEnded& event);

  /// Goes as far as the facts allow, then says what must be in force and when to look again.
  void Advance();
  bool rejected() const { return rejected_; }
  Decision Finish() && { return {std::move(state_), std::move(effects_)}; }

 private:
  void Emit(Effect effect) { effects_.push_back(std::move(effect)); }
  void Refuse(std::string reason) {
    rejected_ = true;
    Emit(Reject{std::move(reason)});
  }
  bool OnHold() const { return state_.hold != Hold::kNone || state_.spec.paused; }
  bool CanaryReady() const {
    const auto ready = state_.ready.find(state_.canary);
    return ready != state_.ready.end() && ready->second > 0;
  }
  bool Delivered() const { return state_.delivery == Delivery::kAcked; }
  /// The canary has the pods that its weight asks for.
  bool Scaled() const;
  bool RefuseUnlessUnderWay(const char* verb);

  // engine.cc: commands and facts
  void Want(const std::string& revision);
  void Begin(const std::string& revision);
  void ClearPause();
  void EndHold();
  void AbortBecause(std::string reason);

  // progress.cc: steps, weights, the end
  void SkipStep();
  bool TryStep();
  void Complete();
  uint32_t WantedWeight() const { return CanaryReady() ? TargetWeight(state_) : 0; }
  uint32_t PublishedShare() const;
  Publish WantedPublish() const;
  void PublishIfChanged();
  void Wake();

  // analysis.cc
  void Judge(const AnalysisRun& run, const std::string& message);
  bool FinishedRun(std::optional<AnalysisRun>& slot, AnalysisWhere where, const Analysis& analysis);
  void EmitStart(const AnalysisRun& run);
  std::string RunId(AnalysisWhere where) const;
  void KeepBackground();
  void StopRun(std::optional<AnalysisRun>& slot);
  void StopRuns();
  bool PostPromotionDone();

  // blue_green.cc: the revision before
  bool CanGoBack() const;
  std::string GoBack();
  void ReturnToPrevious();
  void AbortAfterTheFlip();
  std::string KeptAtTheFlip() const;
  void KeepPrevious(const std::string& revision);
  void DropPrevious();
  void DropPreviousWhenDue();

  // ending.cc: open connections
  void PlanEnding(const std::string& revision, bool completed);
  void CancelEnding();
  void KeepEnding(const Spec& before);
  void OrderWhenDue();

  State state_;
  const TimePoint now_;
  std::vector<Effect> effects_;
  bool rejected_ = false;
  bool publish_again_ = false;
};

}  // namespace weir::engine
