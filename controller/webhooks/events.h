// What people are told of a rollout: found by comparing its state before and after a change. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "controller/engine/engine.h"
#include "controller/model/objects.h"
#include "controller/model/webhook_body.h"

namespace weir::webhooks {

/// One event on its way to one webhook.
struct Notification {
  uint64_t number = 0;  // of its rollout; never used twice
  std::string webhook;  // in the rollout's namespace
  model::WebhookFields fields;
  bool operator==(const Notification&) const = default;
};

/// Of started, step (another step than the first began), paused, aborted, completed: those that the change
/// was, in the order in which they came about.
std::vector<std::string> EventsBetween(const engine::State& before, const engine::State& after,
                                       engine::TimePoint now);

/// What a body can say of it; id and event are the caller's.
model::WebhookFields FieldsOf(const model::ObjectKey& rollout, const engine::State& state,
                              engine::TimePoint now);

}  // namespace weir::webhooks
