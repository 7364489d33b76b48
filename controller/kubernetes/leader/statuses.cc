#include "controller/kubernetes/leader/statuses.h"

#include <vector>

#include "common/log.h"

namespace weir::kubernetes {
namespace {

namespace json = boost::json;
constexpr std::chrono::milliseconds kAgain{1000};

/// Whether merging `wanted` would change `present` (RFC 7396).
bool Changes(const json::object& wanted, const json::value& present) {
  if (!present.is_object()) return true;
  for (const auto& [name, value] : wanted) {
    const json::value* there = present.get_object().if_contains(name);
    if (value.is_null() ? there != nullptr : there == nullptr) return true;
    if (value.is_object() ? Changes(value.get_object(), *there) : there != nullptr && *there != value)
      return true;
  }
  return false;
}

}  // namespace

Statuses::Statuses(boost::asio::io_context& context, Api& api, Make make)
    : context_(context), api_(api), make_(std::move(make)), timer_(context_) {}

void Statuses::Changed(const StatusKey& key) {
  dirty_.insert(key);
  Arm(kPace);
}

void Statuses::Seen(const StatusKey& key, const json::value& status) {
  present_[key] = json::serialize(status);
}

void Statuses::Forget(const StatusKey& key) {
  present_.erase(key);
  dirty_.erase(key);
}

void Statuses::Stop() {
  stopped_ = true;
  timer_.cancel();
}

void Statuses::Arm(std::chrono::milliseconds delay) {
  if (stopped_ || std::exchange(armed_, true)) return;
  timer_.expires_after(delay);
  timer_.async_wait([this](boost::system::error_code error) {
    armed_ = false;
    if (!error && !stopped_) Write();
  });
}

/// In turns, so that those that change all the time keep nobody waiting.
void Statuses::Write() {
  backlog_ = false;
  std::vector<StatusKey> turns(dirty_.upper_bound(last_), dirty_.end());
  turns.insert(turns.end(), dirty_.begin(), dirty_.upper_bound(last_));
  for (const StatusKey& key : turns) {
    if (writing_.contains(key)) continue;  // its answer arms the timer
    if (writing_.size() >= kAtOnce) {
      backlog_ = true;
      return;
    }
    last_ = key;
    dirty_.erase(key);
    Write(key);
  }
}

void Statuses::Write(const StatusKey& key) {
  const auto wanted = make_(key);
  if (!wanted) return;
  if (const auto present = present_.find(key); present != present_.end()) {
    const auto there = ParseJson(present->second);
    if (there.ok() && !Changes(wanted->members, *there)) return;
  }
  writing_.insert(key);
  api_.Send(StatusPatchRequest(key.resource, key.key, wanted->members, wanted->resource_version),
            [this, alive = std::weak_ptr<bool>(alive_), key](const Result<Response>& answer) {
              if (!alive.expired()) OnWritten(key, answer);
            });
}

void Statuses::OnWritten(const StatusKey& key, const Result<Response>& answer) {
  writing_.erase(key);
  if (answer.ok()) {
    ++counters_.written;
    if (const json::value* status = Find(answer->body, {"status"})) Seen(key, *status);
  } else if (answer.status().code() == absl::StatusCode::kNotFound) {
    Forget(key);
  } else if (answer.status().code() !=
             absl::StatusCode::kAborted) {  // else somebody has written: the watch brings it
    if (counters_.failed++ % 100 == 0)
      LogWarn("a status could not be written",
              {{"object", model::ToString(key.key)}, {"error", answer.status()}});
    dirty_.insert(key);
    return Arm(kAgain);
  }
  if (!dirty_.empty()) Arm(backlog_ ? std::chrono::milliseconds(0) : kPace);
}

}  // namespace weir::kubernetes
