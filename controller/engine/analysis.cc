// Analysis: runs that judge a revision. The application carries them out; here it is decided when one begins,
// what its verdict does, and when it is of no use any more.
#include "controller/engine/machine.h"

namespace weir::engine {

void Machine::On(const AnalysisFinished& event) {
  for (auto* slot : {&state_.foreground, &state_.background}) {
    if (!*slot || (*slot)->outcome || (*slot)->id != event.run_id) continue;
    (*slot)->outcome = event.outcome;
    Judge(**slot, event.message);
    return;
  }
  // Of a run that was stopped, or of an attempt before: no news.
}

void Machine::Judge(const AnalysisRun& run, const std::string& message) {
  std::string text = AnalysisText(run.where, run.step) + " " + OutcomeName(*run.outcome) +
                     (message.empty() ? "" : ": " + message);
  switch (*run.outcome) {
    case Outcome::kSuccessful:
      Emit(Note{std::move(text)});
      return;
    case Outcome::kInconclusive:
      Emit(Note{"paused: " + text});
      state_.hold = Hold::kInconclusive;
      state_.reason = std::move(text);
      return;
    case Outcome::kFailed:
    case Outcome::kError:
      AbortBecause(std::move(text));
  }
}

/// Starts the run in `slot` unless it is there already. True when it is over and nothing is in the way.
bool Machine::FinishedRun(std::optional<AnalysisRun>& slot, AnalysisWhere where, const Analysis& analysis) {
  if (!slot) {
    slot = AnalysisRun{.id = RunId(where), .where = where, .step = state_.step, .analysis = analysis};
    EmitStart(*slot);
  }
  return slot->outcome.has_value();
}

void Machine::EmitStart(const AnalysisRun& run) {
  Emit(StartAnalysis{run.id, run.where, run.step, run.analysis, state_.stable, state_.canary});
}

/// The same for the same rollout, revision, place and attempt, whenever it is asked.
std::string Machine::RunId(AnalysisWhere where) const {
  std::string id = state_.canary + "-" + std::to_string(state_.attempt);
  switch (where) {
    case AnalysisWhere::kStep:
      return id + "-step-" + std::to_string(state_.step);
    case AnalysisWhere::kPrePromotion:
      return id + "-pre-" + std::to_string(state_.step);
    case AnalysisWhere::kPostPromotion:
      return id + "-post";
    case AnalysisWhere::kBackground:
      return id + "-background-" + std::to_string(state_.background_runs);
  }
  return id;
}

/// Background analysis goes on through pauses and holds, from its step to the end of the rollout. One that
/// was Inconclusive begins anew when the rollout goes on; one that has succeeded is done.
void Machine::KeepBackground() {
  const auto& wanted = state_.spec.background;
  if (!wanted || state_.canary.empty() || state_.aborted || state_.full || !CanaryReady()) return;
  if (state_.step < wanted->starting_step && !state_.finishing) return;
  if (state_.background && state_.background->outcome == Outcome::kInconclusive && !OnHold()) {
    state_.background.reset();
    ++state_.background_runs;
  }
  FinishedRun(state_.background, AnalysisWhere::kBackground, wanted->analysis);
}

void Machine::StopRun(std::optional<AnalysisRun>& slot) {
  if (slot && !slot->outcome) Emit(StopAnalysis{slot->id});
  slot.reset();
}

void Machine::StopRuns() {
  StopRun(state_.foreground);
  StopRun(state_.background);
}

/// Whether the analysis after the flip, if there is any, lets the rollout end.
bool Machine::PostPromotionDone() {
  const auto& blue_green = state_.spec.blue_green;
  if (!blue_green || !blue_green->post_promotion || state_.full) return true;
  if (!FinishedRun(state_.foreground, AnalysisWhere::kPostPromotion, *blue_green->post_promotion))
    return false;
  return true;
}

const char* OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kSuccessful:
      return "Successful";
    case Outcome::kInconclusive:
      return "Inconclusive";
    case Outcome::kFailed:
      return "Failed";
    case Outcome::kError:
      return "Error";
  }
  return "Unknown";
}

std::string AnalysisText(AnalysisWhere where, uint32_t step) {
  switch (where) {
    case AnalysisWhere::kStep:
      return "analysis at step " + std::to_string(step);
    case AnalysisWhere::kBackground:
      return "background analysis";
    case AnalysisWhere::kPrePromotion:
      return "analysis before promotion";
    case AnalysisWhere::kPostPromotion:
      return "analysis after promotion";
  }
  return "analysis";
}

}  // namespace weir::engine
