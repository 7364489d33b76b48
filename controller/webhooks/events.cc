#include "controller/webhooks/events.h"

#include <fmt/chrono.h>

namespace weir::webhooks {
namespace {

/// A pause that people see; two pauses in a row are two.
bool NewlyPaused(const engine::State& before, const engine::State& after, engine::TimePoint now) {
  if (!engine::Describe(after, now).paused) return false;
  return !engine::Describe(before, now).paused || before.step != after.step ||
         before.attempt != after.attempt || before.hold != after.hold;
}

}  // namespace

std::vector<std::string> EventsBetween(const engine::State& before, const engine::State& after,
                                       engine::TimePoint now) {
  std::vector<std::string> events;
  const bool begins = after.attempt != before.attempt;
  if (begins) events.emplace_back("started");
  if (!after.canary.empty()) {
    // The one after the last is the end, which is told when every node has it.
    if (after.step > (begins ? 0 : before.step) && after.step < after.spec.steps.size())
      events.emplace_back("step");
    if (after.aborted && (begins || !before.aborted)) events.emplace_back("aborted");
    if (!after.aborted && NewlyPaused(before, after, now)) events.emplace_back("paused");
  } else if (!before.stable.empty() && after.stable != before.stable) {
    events.emplace_back("completed");
  }
  return events;
}

model::WebhookFields FieldsOf(const model::ObjectKey& rollout, const engine::State& state,
                              engine::TimePoint now) {
  const engine::Description description = engine::Describe(state, now);
  const auto seconds = std::chrono::floor<std::chrono::seconds>(now);
  return {{"time", fmt::format("{:%FT%TZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(seconds)))},
          {"namespace", rollout.ns},
          {"rollout", rollout.name},
          {"phase", engine::PhaseName(description.phase)},
          {"message", description.message},
          {"stable", state.stable},
          {"canary", state.canary},
          {"step", std::to_string(state.step)},
          {"steps", std::to_string(state.spec.steps.size())},
          {"weight", std::to_string(description.canary_weight)},
          {"maxWeight", std::to_string(state.spec.max_weight)},
          {"generation", std::to_string(state.generation)}};
}

}  // namespace weir::webhooks
