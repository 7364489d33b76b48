// Rollouts, splits, services and nodes as the API shows them. Pure functions of what core, dispatch and the
// agents' counts hold.
#pragma once

#include "controller/app/acks.h"
#include "controller/app/core.h"
#include "controller/app/observed.h"
#include "controller/webhooks/sender.h"
#include "weir/v1/rollouts.pb.h"

namespace weir::app {

struct Facts {
  const Core& core;
  const Observed& observed;
};

v1::Rollout RolloutStatus(const Facts& facts, const ObjectKey& key, const engine::Acks& acks);
/// Adds the frontends of one service.
void AddSplits(const Facts& facts, const ObjectKey& service, v1::ListSplitsResponse& response);
/// Services in `ns` ("": all) named `name` ("": all).
v1::ListServicesResponse ServiceList(const Facts& facts, const std::string& ns, const std::string& name);
v1::Node NodeStatus(const dispatch::Node& node);
/// Nothing of it that may be secret: of its URL the server only.
v1::WebhookStatus WebhookStatusOf(const model::Webhook& webhook, const webhooks::Report& report);

}  // namespace weir::app
