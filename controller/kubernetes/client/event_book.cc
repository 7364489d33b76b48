#include "controller/kubernetes/client/event_book.h"

#include <fmt/format.h>

#include <algorithm>

namespace weir::kubernetes {
namespace {

namespace json = boost::json;

constexpr size_t kMaxNote = 1024;  // events.k8s.io/v1: "Maximal length of the note is 1kB"
constexpr std::string_view kController = "weir.dev/controller";
/// Of "NAME." an event's own name is made; names are at most 253 bytes.
constexpr size_t kMaxNamePart = 230;

/// Cut to whole UTF-8 characters.
std::string Cut(std::string text, size_t max) {
  if (text.size() <= max) return text;
  while (max > 0 && (static_cast<unsigned char>(text[max]) & 0xC0U) == 0x80U) --max;
  text.resize(max);
  return text;
}

json::object Reference(const EventSubject& subject) {
  json::object reference{{"apiVersion", subject.api_version},
                         {"kind", subject.kind},
                         {"name", subject.key.name},
                         {"uid", subject.uid}};
  if (!subject.key.ns.empty()) reference["namespace"] = subject.key.ns;
  return reference;
}

}  // namespace

EventBook::Action EventBook::Record(const EventSubject& regarding, const EventText& text, MonotonicTime now,
                                    WallTime wall) {
  Forget(now);
  EventText cut = text;
  cut.note = Cut(std::move(cut.note), kMaxNote);
  if (const auto known = entries_.find({regarding, cut}); known != entries_.end()) {
    Entry& entry = known->second;
    ++entry.count;
    entry.seen = now;
    entry.seen_wall = wall;
    if (Due(entry, now)) return Write(entry, now);
    return Nothing{};
  }
  if (entries_.size() >= options_.max_entries || !Take(regarding, now)) return Limited{};
  // Events of cluster-scoped objects live in "default", as those of Nodes do.
  Entry entry;
  entry.event.ns = regarding.key.ns.empty() ? "default" : regarding.key.ns;
  const auto since = std::chrono::duration_cast<std::chrono::nanoseconds>(wall.time_since_epoch()).count();
  entry.event.name = fmt::format("{}.{:x}", Cut(regarding.key.name, kMaxNamePart), since + ++named_);
  entry.seen = entry.written = now;
  entry.seen_wall = wall;
  json::object event{{"apiVersion", "events.k8s.io/v1"},
                     {"kind", "Event"},
                     {"metadata", {{"name", entry.event.name}, {"namespace", entry.event.ns}}},
                     {"eventTime", FormatMicroTime(wall)},
                     {"reportingController", kController},
                     {"reportingInstance", Cut(instance_, 128)},
                     {"action", Cut(cut.action, 128)},
                     {"reason", Cut(cut.reason, 128)},
                     {"regarding", Reference(regarding)},
                     {"note", cut.note},
                     {"type", cut.type == EventType::kNormal ? "Normal" : "Warning"}};
  Create create{entry.event, std::move(event)};
  entries_.emplace(Id{regarding, std::move(cut)}, std::move(entry));
  return create;
}

std::vector<EventBook::Patch> EventBook::Flush(MonotonicTime now) {
  std::vector<Patch> patches;
  for (auto& [id, entry] : entries_) {
    if (Due(entry, now)) patches.push_back(Write(entry, now));
  }
  Forget(now);
  return patches;
}

bool EventBook::Due(const Entry& entry, MonotonicTime now) const {
  if (!entry.stored || entry.count == entry.written_count) return false;
  return entry.written_count == 1 || now - entry.written >= options_.series_interval ||
         now - entry.seen >= options_.series_ends;
}

void EventBook::Stored(const ObjectKey& event) {
  for (auto& [id, entry] : entries_) {
    if (entry.event == event) entry.stored = true;
  }
}

void EventBook::Gone(const ObjectKey& event) {
  std::erase_if(entries_, [&](const auto& entry) { return entry.second.event == event; });
}

EventBook::Patch EventBook::Write(Entry& entry, MonotonicTime now) const {
  entry.written = now;
  entry.written_count = entry.count;
  return {entry.event,
          {{"series", {{"count", entry.count}, {"lastObservedTime", FormatMicroTime(entry.seen_wall)}}}}};
}

bool EventBook::Take(const EventSubject& regarding, MonotonicTime now) {
  Bucket& bucket = buckets_.try_emplace(regarding, Bucket{options_.burst, now}).first->second;
  const std::chrono::duration<double> passed = now - bucket.at;
  bucket.tokens =
      std::min(options_.burst, bucket.tokens + passed / std::chrono::duration<double>(options_.refill));
  bucket.at = now;
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

void EventBook::Forget(MonotonicTime now) {
  // What is not written yet stays for Flush.
  std::erase_if(entries_, [&](const auto& entry) {
    return now - entry.second.seen >= options_.series_ends &&
           entry.second.count == entry.second.written_count;
  });
  std::erase_if(buckets_, [&](const auto& bucket) {
    return now - bucket.second.at >= options_.refill * static_cast<int64_t>(options_.burst);
  });
}

}  // namespace weir::kubernetes
