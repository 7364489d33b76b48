#include "controller/kubernetes/client/election.h"

#include <algorithm>
#include <utility>

namespace weir::kubernetes {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;

/// Retries of several candidates drift apart: client-go's JitterFactor.
constexpr double kJitter = 0.2;
constexpr size_t kMaxIdentity = 128;

int64_t Number(const json::value& lease, std::string_view field) {
  const json::value* found = Find(lease, {"spec", field});
  return found != nullptr && found->is_int64() ? found->get_int64() : 0;
}

/// The object `spec` of a Lease, made if it is not there.
json::object& SpecOf(json::object& lease) {
  json::value& spec = lease["spec"];
  return spec.is_object() ? spec.get_object() : spec.emplace_object();
}

}  // namespace

Status CheckLeaseOptions(const LeaseOptions& options) {
  if (options.key.ns.empty() || options.key.name.empty())
    return InvalidArgument("lease: found no namespace or name, expected both");
  if (options.identity.empty() || options.identity.size() > kMaxIdentity)
    return InvalidArgument("lease identity: found {} bytes, expected 1 to {}", options.identity.size(),
                           kMaxIdentity);
  if (options.lease_duration < std::chrono::seconds(1) || options.lease_duration.count() % 1000 != 0)
    return InvalidArgument("lease duration: found {} ms, expected whole seconds",
                           options.lease_duration.count());
  if (options.renew_deadline >= options.lease_duration) {
    return InvalidArgument("renew deadline: found {} ms, expected less than the lease duration of {} ms",
                           options.renew_deadline.count(), options.lease_duration.count());
  }
  if (options.retry_period <= milliseconds(0) || options.retry_period >= options.renew_deadline) {
    return InvalidArgument(
        "retry period: found {} ms, expected more than 0 and less than the renew deadline of {} ms",
        options.retry_period.count(), options.renew_deadline.count());
  }
  return OkStatus();
}

Election::Election(LeaseOptions options, RandomSource random)
    : options_(std::move(options)), random_(std::move(random)) {}

Election::Action Election::Next(MonotonicTime now, WallTime wall) {
  // A leader writes without reading first: a conflict tells it that somebody else has written.
  if (Held(now) && observed_) return Write(now, wall);
  asked_ = Asked::kGet;
  asked_at_ = now;
  return Get{};
}

Election::Action Election::OnAnswer(const Result<json::value>& lease, MonotonicTime now, WallTime wall) {
  const Asked asked = std::exchange(asked_, Asked::kNothing);
  if (lease.ok()) {
    Observe(*lease, now);
    if (asked == Asked::kGet) return Try(now, wall);
    // Counted from when it was asked: others may have seen it since then, never before.
    if (holder_ == options_.identity) held_until_ = asked_at_ + options_.renew_deadline;
    return Retry(now);
  }
  const absl::StatusCode code = lease.status().code();
  if (asked == Asked::kGet && code == absl::StatusCode::kNotFound) {
    observed_.reset();
    observed_version_.clear();
    holder_.clear();
    held_until_.reset();
    return Write(now, wall);
  }
  // NOT_FOUND to a creation is a namespace that is not there: no news about the Lease.
  const bool others_wrote = code == absl::StatusCode::kAborted || code == absl::StatusCode::kAlreadyExists ||
                            (code == absl::StatusCode::kNotFound && observed_);
  if (asked == Asked::kWrite && others_wrote) {
    // Whose it is now must be read: the write of ours whose answer was lost is one that others cannot be told
    // from.
    observed_.reset();
    asked_ = Asked::kGet;
    asked_at_ = now;
    return Get{};
  }
  return Retry(now);
}

void Election::Observe(const json::value& lease, MonotonicTime now) {
  const json::object* object = lease.if_object();
  if (object == nullptr) return;
  const std::string version(ResourceVersionOf(*object));
  if (version != observed_version_) {
    observed_version_ = version;
    observed_at_ = now;
  }
  observed_ = *object;
  holder_ = Text(lease, {"spec", "holderIdentity"});
  observed_duration_ = std::chrono::seconds(Number(lease, "leaseDurationSeconds"));
  if (holder_ != options_.identity) held_until_.reset();
}

Election::Action Election::Try(MonotonicTime now, WallTime wall) {
  const bool free =
      holder_.empty() || holder_ == options_.identity || now >= observed_at_ + observed_duration_;
  return free ? Write(now, wall) : Retry(now);
}

Election::Action Election::Write(MonotonicTime now, WallTime wall) {
  asked_ = Asked::kWrite;
  asked_at_ = now;
  json::object lease = Claim(wall);
  if (!observed_) return Create{std::move(lease)};
  return Update{std::move(lease)};
}

Election::Action Election::Retry(MonotonicTime now) {
  // Counted from when the last attempt began: one that hung is not followed by a pause as well.
  const auto since = std::chrono::duration_cast<milliseconds>(now - asked_at_);
  const milliseconds least = options_.retry_period / 8;
  // A leader renews on the dot; candidates drift apart, but none sleeps past the moment at which it may take
  // over.
  if (Held(now)) return Wait{std::max(options_.retry_period - since, least)};
  const milliseconds jitter(
      static_cast<int64_t>(kJitter * random_() * static_cast<double>(options_.retry_period.count())));
  milliseconds delay = std::max(options_.retry_period + jitter - since, least);
  if (observed_ && !holder_.empty() && holder_ != options_.identity) {
    const auto expires = std::chrono::ceil<milliseconds>(observed_at_ + observed_duration_ - now);
    if (expires > milliseconds(0)) delay = std::min(delay, expires);
  }
  return Wait{delay};
}

json::object Election::Claim(WallTime wall) const {
  json::object lease = observed_ ? *observed_ : json::object();
  if (!observed_) {
    lease = {{"apiVersion", "coordination.k8s.io/v1"},
             {"kind", "Lease"},
             {"metadata", {{"name", options_.key.name}, {"namespace", options_.key.ns}}}};
  }
  json::object& spec = SpecOf(lease);
  const std::string time = FormatMicroTime(wall);
  if (holder_ != options_.identity || !observed_) {
    const int64_t transitions = observed_ ? Number(*observed_, "leaseTransitions") + 1 : 0;
    spec["acquireTime"] = time;
    spec["leaseTransitions"] = transitions;
  }
  spec["holderIdentity"] = options_.identity;
  spec["leaseDurationSeconds"] =
      std::chrono::duration_cast<std::chrono::seconds>(options_.lease_duration).count();
  spec["renewTime"] = time;
  return lease;
}

std::optional<Election::Update> Election::Release(WallTime wall) {
  held_until_.reset();
  if (!observed_ || holder_ != options_.identity) return std::nullopt;
  json::object lease = *std::exchange(observed_, std::nullopt);
  json::object& spec = SpecOf(lease);
  const std::string time = FormatMicroTime(wall);
  spec["holderIdentity"] = "";
  // As client-go leaves it: whoever reads nothing but times waits a second at most.
  spec["leaseDurationSeconds"] = 1;
  spec["acquireTime"] = spec["renewTime"] = time;
  return Update{std::move(lease)};
}

}  // namespace weir::kubernetes
