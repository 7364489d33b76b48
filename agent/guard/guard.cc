#include "agent/guard/guard.h"

#include <algorithm>
#include <ctime>

#include "agent/datapath/revision_id.h"
#include "common/log.h"

namespace weir::guard {
namespace {

using datapath::Cut;
using datapath::Frontend;
using datapath::FrontendKey;
using std::chrono::milliseconds;

constexpr uint32_t kMaxWeight = 1'000'000;
/// What is in force is told again this often.
constexpr std::chrono::seconds kTellAgain{15};

const char* Reason(Cut cut) {
  return cut == Cut::kTripped ? "its connects failed" : "no controller was heard";
}

bool IsStable(const Frontend& frontend, const datapath::Variant& variant) {
  return frontend.fail_safe && variant.revision == frontend.fail_safe->stable;
}

/// The revision that has traffic beside stable; empty when none has, or when stable has no endpoint.
std::string ExposedCanary(const Frontend& frontend) {
  if (!frontend.fail_safe) return "";
  std::string canary;
  bool can_fall_back = false;
  for (const datapath::Variant& variant : frontend.variants) {
    if (IsStable(frontend, variant)) {
      can_fall_back = !variant.endpoints.empty();
    } else if (variant.weight > 0 && canary.empty()) {
      canary = variant.revision;
    }
  }
  return can_fall_back ? canary : "";
}

Guard::ServiceKey ServiceOf(const Frontend& frontend) { return {frontend.ns, frontend.service}; }

v1::TakenOut::Reason ToWire(Cut cut) {
  return cut == Cut::kTripped ? v1::TakenOut::REASON_TRIPPED : v1::TakenOut::REASON_CUT_OFF;
}

uint64_t Milliseconds(std::chrono::nanoseconds duration) {
  return static_cast<uint64_t>(std::max<int64_t>(0, std::chrono::ceil<milliseconds>(duration).count()));
}

/// The revision that lists an endpoint; empty when none does.
std::string RevisionOf(const Frontend& frontend, const SocketAddress& endpoint) {
  for (const datapath::Variant& variant : frontend.variants) {
    if (std::find(variant.endpoints.begin(), variant.endpoints.end(), endpoint) != variant.endpoints.end())
      return variant.revision;
  }
  return "";
}

}  // namespace

std::chrono::nanoseconds Boottime() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

Guard::Guard(datapath::Datapath& inner, const Clock& clock, BootClock boottime)
    : inner_(inner), clock_(clock), boottime_(std::move(boottime)) {}

const Frontend* Guard::Wanted(const FrontendKey& key) const {
  const auto found = wanted_.find(key);
  return found == wanted_.end() ? nullptr : &found->second;
}

bool Guard::IsTakenOut(const Frontend& frontend) const {
  const std::string canary = ExposedCanary(frontend);
  if (canary.empty()) return false;
  const auto found = taken_out_.find(ServiceOf(frontend));
  return found != taken_out_.end() && found->second.canary == canary &&
         found->second.round == frontend.fail_safe->round;
}

/// What the datapath is to hold of it.
Frontend Guard::Effective(const Frontend& frontend) const {
  Frontend effective = frontend;
  health_.Filter(effective);
  if (!IsTakenOut(frontend)) return effective;
  effective.cut = taken_out_.at(ServiceOf(frontend)).cut;
  uint64_t all = 0;
  for (datapath::Variant& variant : effective.variants) all += std::exchange(variant.weight, 0);
  for (datapath::Variant& variant : effective.variants) {
    if (IsStable(effective, variant))
      variant.weight = static_cast<uint32_t>(std::min<uint64_t>(all, kMaxWeight));
  }
  return effective;
}

/// What the kernel decided before the frontend had a name, goes on under the round that it comes with.
void Guard::TakeOverAdopted(const Frontend& frontend) {
  const auto adopted = adopted_.find(frontend.key);
  const std::string canary = ExposedCanary(frontend);
  if (adopted == adopted_.end() || canary.empty() ||
      adopted->second.canary_id != datapath::RevisionId(canary) || IsTakenOut(frontend)) {
    return;
  }
  TakeOut(frontend, adopted->second.cut);
}

void Guard::TakeOut(const Frontend& frontend, Cut cut) {
  const std::string canary = ExposedCanary(frontend);
  ++(cut == Cut::kTripped ? times_tripped_ : times_cut_off_);
  taken_out_[ServiceOf(frontend)] = {canary, frontend.fail_safe->round, cut, clock_.Now()};
  LogWarn("the canary has no traffic on this node any more",
          {{"service", frontend.ns + "/" + frontend.service}, {"revision", canary}, {"reason", Reason(cut)}});
}

Status Guard::Apply(const datapath::Change& change) {
  const bool guarded = !wanted_.empty() || std::any_of(change.upserts.begin(), change.upserts.end(),
                                                       [](const Frontend& frontend) {
                                                         return frontend.fail_safe || frontend.health;
                                                       });
  if (!guarded) {
    const Status status = inner_.Apply(change);
    if (status.ok()) Remember(change);
    return status;
  }
  const auto before = taken_out_;
  for (const Frontend& frontend : change.upserts) TakeOverAdopted(frontend);
  datapath::Change effective{change.generation, change.controller_id, change.full, {}, change.removals};
  effective.upserts.reserve(change.upserts.size());
  for (const Frontend& frontend : change.upserts) effective.upserts.push_back(Effective(frontend));
  const Status status = inner_.Apply(effective);
  if (status.ok()) {
    Remember(change);
  } else {
    taken_out_ = before;
  }
  return status;
}

/// The change is in force.
void Guard::Remember(const datapath::Change& change) {
  if (change.full) {
    wanted_.clear();
    adopted_.clear();
    dirty_.clear();
  }
  const auto forget = [&](const FrontendKey& key) {
    wanted_.erase(key);
    adopted_.erase(key);
    dirty_.erase(key);
  };
  for (const FrontendKey& key : change.removals) forget(key);
  for (const Frontend& frontend : change.upserts) {
    forget(frontend.key);
    if (frontend.fail_safe || frontend.health) wanted_.emplace(frontend.key, frontend);
  }
  // What was decided lasts as long as some port of the service is exposed as it was.
  std::set<ServiceKey> still;
  for (const auto& [key, frontend] : wanted_) {
    if (IsTakenOut(frontend)) still.insert(ServiceOf(frontend));
  }
  std::erase_if(taken_out_, [&](const auto& entry) {
    if (still.contains(entry.first)) return false;
    LogInfo("what was decided on this node for the canary is over",
            {{"service", entry.first.first + "/" + entry.first.second}, {"revision", entry.second.canary}});
    return true;
  });
}

void Guard::LookAtGuards() {
  for (const datapath::GuardState& state : inner_.ReadGuards(boottime_())) {
    const Cut cut = state.decided != Cut::kNone ? state.decided : state.in_force;
    if (cut == Cut::kNone) continue;
    const auto wanted = wanted_.find(state.key);
    if (wanted == wanted_.end()) {
      adopted_[state.key] = {state.canary_id, cut};
      continue;
    }
    if (state.decided == Cut::kNone || ExposedCanary(wanted->second).empty()) continue;  // ours
    if (!IsTakenOut(wanted->second)) TakeOut(wanted->second, cut);
    const ServiceKey service = ServiceOf(wanted->second);
    for (const auto& [key, frontend] : wanted_) {
      if (ServiceOf(frontend) == service) dirty_.insert(key);
    }
  }
}

void Guard::LookAtEndpoints() {
  const bool any = std::any_of(wanted_.begin(), wanted_.end(),
                               [](const auto& entry) { return entry.second.health.has_value(); });
  if (!any) return;
  const auto failures = inner_.ReadFailures();
  if (!failures.ok()) {
    LogWarn("cannot read which endpoints fail", {{"error", failures.status()}});
    return;
  }
  const Health::Outcome outcome = health_.Look(wanted_, *failures, clock_.Now());
  dirty_.insert(outcome.changed.begin(), outcome.changed.end());
  const auto log = [&](const char* text, const EndpointKey& key) {
    const Frontend& frontend = wanted_.at(key.first);
    LogInfo(text, {{"service", frontend.ns + "/" + frontend.service},
                   {"revision", RevisionOf(frontend, key.second)},
                   {"endpoint", ToString(key.second)}});
  };
  for (const EndpointKey& key : outcome.left_out) log("an endpoint whose connects fail is left out", key);
  for (const EndpointKey& key : outcome.returned) log("an endpoint is tried again", key);
  for (const auto& [key, endpoint] : outcome.forget) {
    if (const Status status = inner_.ForgetFailures(key, endpoint); !status.ok())
      LogWarn("cannot forget an endpoint's failures", {{"error", status}});
  }
  for (const auto& [key, endpoint] : outcome.expect) {
    if (const Status status = inner_.ExpectAnswer(key, endpoint); !status.ok())
      LogWarn("cannot watch for an endpoint's answer", {{"error", status}});
  }
}

/// Under the generation held: it is the same content, less what the node decided.
void Guard::PutInForce() {
  if (dirty_.empty() || inner_.Generation() == 0) return;
  datapath::Change change{inner_.Generation(), inner_.ControllerId(), false, {}, {}};
  for (const FrontendKey& key : dirty_) {
    if (const auto wanted = wanted_.find(key); wanted != wanted_.end())
      change.upserts.push_back(Effective(wanted->second));
  }
  const Status status = inner_.Apply(change);
  if (status.ok()) dirty_.clear();
  if (!status.ok() && !failing_)
    LogError("what was decided on this node cannot be put in force yet", {{"error", status}});
  failing_ = !status.ok();
}

void Guard::Poll() {
  LookAtGuards();
  LookAtEndpoints();
  PutInForce();
}

void Guard::Heard() {
  Poll();
  const auto guards = inner_.ReadGuards(boottime_());
  const bool pending = std::any_of(guards.begin(), guards.end(), [](const datapath::GuardState& state) {
    return state.decided == Cut::kCutOff;
  });
  // A sign of life would undo what is not yet kept: nobody would ever hear of it.
  if (!pending) inner_.SetHeard(boottime_());
}

std::optional<v1::Safety> Guard::Report(bool anew) {
  const MonotonicTime now = clock_.Now();
  v1::Safety report;
  for (const auto& [service, taken] : taken_out_) {
    v1::TakenOut& wire = *report.add_taken_out();
    wire.set_namespace_(service.first);
    wire.set_service(service.second);
    wire.set_revision(taken.canary);
    wire.set_reason(ToWire(taken.cut));
    wire.set_round(taken.round);
  }
  const auto left_out = health_.left_out();
  for (const auto& [key, out] : left_out) {
    const Frontend* frontend = Wanted(key.first);
    if (frontend == nullptr) continue;
    v1::LeftOut& wire = *report.add_left_out();
    wire.set_namespace_(frontend->ns);
    wire.set_service(frontend->service);
    wire.set_revision(RevisionOf(*frontend, key.second));
    wire.mutable_endpoint()->set_address(key.second.address.ToBytes());
    wire.mutable_endpoint()->set_port(key.second.port);
    wire.set_times(out.times);
    wire.set_for_ms(Milliseconds(out.until - now));
  }
  v1::Safety identity = report;
  for (v1::LeftOut& wire : *identity.mutable_left_out()) wire.clear_for_ms();
  std::string text = identity.SerializeAsString();
  const bool due = now - told_at_ >= kTellAgain && !text.empty();
  if (!anew && !due && text == told_) return std::nullopt;
  told_ = std::move(text);
  told_at_ = now;
  int index = 0;
  for (const auto& [service, taken] : taken_out_)
    report.mutable_taken_out(index++)->set_for_ms(Milliseconds(now - taken.since));
  return report;
}

}  // namespace weir::guard
