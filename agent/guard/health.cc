#include "agent/guard/health.h"

#include <algorithm>

namespace weir::guard {
namespace {

using datapath::Frontend;
using std::chrono::milliseconds;

/// base, twice as long each time, at most max.
milliseconds HowLong(const datapath::PassiveHealth& health, uint32_t times) {
  milliseconds duration = health.base;
  for (uint32_t i = 1; i < times && duration < health.max; ++i) duration *= 2;
  return std::min(duration, health.max);
}

bool Lists(const Frontend& frontend, const SocketAddress& endpoint) {
  return std::any_of(frontend.variants.begin(), frontend.variants.end(),
                     [&](const datapath::Variant& variant) {
                       return std::find(variant.endpoints.begin(), variant.endpoints.end(), endpoint) !=
                              variant.endpoints.end();
                     });
}

}  // namespace

bool Health::IsOut(const EndpointKey& key) const {
  const auto found = states_.find(key);
  return found != states_.end() && found->second.out_until;
}

/// Of a variant that lists it: all others are left out.
bool Health::IsLast(const Frontend& frontend, const SocketAddress& endpoint) const {
  return std::any_of(frontend.variants.begin(), frontend.variants.end(),
                     [&](const datapath::Variant& variant) {
                       const auto& list = variant.endpoints;
                       if (std::find(list.begin(), list.end(), endpoint) == list.end()) return false;
                       return std::all_of(list.begin(), list.end(), [&](const SocketAddress& other) {
                         return other == endpoint || IsOut({frontend.key, other});
                       });
                     });
}

void Health::Judge(const Frontend& frontend, const datapath::EndpointFailures& failure, MonotonicTime now,
                   Outcome& outcome) {
  const EndpointKey key{failure.key, failure.endpoint};
  State& state = states_[key];
  if (failure.answered != state.answered) {  // it has answered since the last look
    if (state.out_until) {
      outcome.changed.insert(failure.key);
      outcome.returned.push_back(key);
    }
    state = {.answered = failure.answered};
    if (failure.in_row == 0) {
      outcome.forget.push_back(key);
      states_.erase(key);
      return;
    }
  }
  const uint32_t patience = state.on_trial ? 1 : frontend.health->consecutive_failures;
  if (state.out_until || failure.in_row < patience || IsLast(frontend, failure.endpoint)) return;
  ++state.times;
  ++times_left_out_;
  state.out_until = now + HowLong(*frontend.health, state.times);
  state.on_trial = false;
  outcome.changed.insert(failure.key);
  outcome.left_out.push_back(key);
}

Health::Outcome Health::Look(const Wanted& wanted, const std::vector<datapath::EndpointFailures>& failures,
                             MonotonicTime now) {
  Outcome outcome;
  const auto frontend_of = [&](const EndpointKey& key) -> const Frontend* {
    const auto found = wanted.find(key.first);
    if (found == wanted.end() || !found->second.health || !Lists(found->second, key.second)) return nullptr;
    return &found->second;
  };
  std::erase_if(states_, [&](const auto& entry) { return frontend_of(entry.first) == nullptr; });
  // Those that come back first: whoever fails may then go.
  for (auto& [key, state] : states_) {
    if (!state.out_until || now < *state.out_until) continue;
    state.out_until.reset();
    state.on_trial = true;
    state.answered = 0;
    outcome.changed.insert(key.first);
    outcome.expect.push_back(key);
    outcome.returned.push_back(key);
  }
  for (const datapath::EndpointFailures& failure : failures) {
    const EndpointKey key{failure.key, failure.endpoint};
    const Frontend* frontend = frontend_of(key);
    const bool back_now =
        std::find(outcome.expect.begin(), outcome.expect.end(), key) != outcome.expect.end();
    if (frontend == nullptr) {
      outcome.forget.push_back(key);
    } else if (!back_now) {  // what it did before its return is of no account
      Judge(*frontend, failure, now, outcome);
    }
  }
  return outcome;
}

void Health::Filter(Frontend& frontend) const {
  if (!frontend.health || states_.empty()) return;
  for (datapath::Variant& variant : frontend.variants) {
    std::vector<SocketAddress> rest;
    std::copy_if(variant.endpoints.begin(), variant.endpoints.end(), std::back_inserter(rest),
                 [&](const SocketAddress& endpoint) {
                   return !IsOut({frontend.key, endpoint});
                 });
    if (!rest.empty()) variant.endpoints = std::move(rest);
  }
}

std::map<EndpointKey, Health::LeftOut> Health::left_out() const {
  std::map<EndpointKey, LeftOut> list;
  for (const auto& [key, state] : states_) {
    if (state.out_until) list[key] = {*state.out_until, state.times};
  }
  return list;
}

}  // namespace weir::guard
