#include "controller/kubernetes/client/reflector_core.h"

#include <algorithm>
#include <utility>

#include "common/url.h"
#include "controller/kubernetes/client/api_error.h"

namespace weir::kubernetes {
namespace {

namespace json = boost::json;

constexpr std::string_view kMetadataList = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
constexpr std::string_view kMetadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// Lists of a large cluster's pages take the server longer than single objects.
constexpr std::chrono::milliseconds kListTimeout{60'000};
constexpr std::chrono::milliseconds kWatchOpens{30'000};
/// A watch that lasted so long was no failure, even if nothing happened in it.
constexpr std::chrono::milliseconds kLongEnough{10'000};

Status NoList(std::string_view what) {
  return Error(absl::StatusCode::kUnavailable, "found {}, expected a list of the Kubernetes API", what);
}

}  // namespace

ReflectorCore::ReflectorCore(ReflectorOptions options, ReflectorCallbacks callbacks, RandomSource random)
    : options_(std::move(options)),
      callbacks_(std::move(callbacks)),
      random_(std::move(random)),
      backoff_(options_.backoff, random_) {}

ReflectorCore::Action ReflectorCore::Next() {
  if (listing_) return AskPage();
  return resource_version_.empty() ? BeginList() : BeginWatch();
}

std::string ReflectorCore::Query() const {
  std::string query = CollectionPath(options_.resource, options_.ns) + "?";
  if (!options_.label_selector.empty())
    query += "labelSelector=" + EncodeQuery(options_.label_selector) + "&";
  if (!options_.field_selector.empty())
    query += "fieldSelector=" + EncodeQuery(options_.field_selector) + "&";
  return query;
}

ReflectorCore::Action ReflectorCore::BeginList() {
  ++counters_.lists;
  if (was_synced_) ++counters_.relists;
  ++list_;
  listing_ = true;
  continue_.clear();
  return AskPage();
}

ReflectorCore::Action ReflectorCore::AskPage() {
  List list;
  // Without resourceVersion: what is true now, never an older state than one seen before.
  list.request.target = Query();
  if (!whole_) list.request.target += fmt::format("limit={}", options_.page);
  if (!continue_.empty()) list.request.target += "&continue=" + EncodeQuery(continue_);
  list.request.accept = options_.metadata_only ? kMetadataList : kJson;
  list.request.timeout = kListTimeout;
  return list;
}

ReflectorCore::Action ReflectorCore::BeginWatch() {
  ++counters_.watches;
  const double range = static_cast<double>((options_.watch_max - options_.watch_min).count());
  Watch watch;
  watch.timeout = options_.watch_min + std::chrono::seconds(static_cast<int64_t>(random_() * range));
  watch.request.target =
      Query() + fmt::format("watch=true&allowWatchBookmarks=true&timeoutSeconds={}&resourceVersion={}",
                            watch.timeout.count(), EncodeQuery(resource_version_));
  watch.request.accept = options_.metadata_only ? kMetadata : kJson;
  watch.request.timeout = kWatchOpens;
  return watch;
}

ReflectorCore::Action ReflectorCore::OnPage(Result<json::value> page) {
  if (!page.ok()) {
    if (page.status().code() == absl::StatusCode::kNotFound) return Absent();
    if (page.status().code() == absl::StatusCode::kOutOfRange) {
      // Compaction was faster than the pages: the next list is asked for in one piece, as client-go does.
      whole_ = true;
      return Relist(page.status());
    }
    // Too much for one piece: in pages again.
    if (page.status().code() == absl::StatusCode::kResourceExhausted) whole_ = false;
    return Fail(page.status());
  }
  ++counters_.pages;
  const std::string version(Text(*page, {"metadata", "resourceVersion"}));
  const json::value* items = Find(*page, {"items"});
  // An empty list may be null.
  const bool listed = items != nullptr && (items->is_array() || items->is_null());
  if (version.empty() || !listed) return Fail(NoList(version.empty() ? "no resourceVersion" : "no items"));
  continue_ = Text(*page, {"metadata", "continue"});
  json::value taken = std::move(page->get_object()["items"]);
  if (json::array* objects = taken.if_array()) {
    for (json::value& object : *objects) {
      if (object.is_object()) Put(std::move(object.get_object()));
    }
  }
  if (!continue_.empty()) return AskPage();
  listing_ = whole_ = absent_ = false;
  resource_version_ = version;
  Sweep();
  synced_ = was_synced_ = true;
  if (!stopped_ && callbacks_.on_synced) callbacks_.on_synced();
  return BeginWatch();
}

std::optional<ReflectorCore::Action> ReflectorCore::OnLine(std::string_view line) {
  Result<json::value> parsed = ParseJson(line);
  json::value event = parsed.ok() ? *std::move(parsed) : json::value();
  const std::string_view type = Text(event, {"type"});
  json::value* body = type.empty() ? nullptr : event.get_object().if_contains("object");
  if (body == nullptr || !body->is_object()) {
    return Fail(Error(absl::StatusCode::kUnavailable, "{}: found a line of {} bytes that is no watch event",
                      ToString(options_.resource), line.size()));
  }
  if (type == "ERROR") {
    unsigned code = 500;
    if (const json::value* number = Find(*body, {"code"}); number != nullptr && number->is_int64())
      code = static_cast<unsigned>(number->get_int64());
    return OnWatchEnd(ApiError("watch " + ToString(options_.resource), code, *body), std::chrono::seconds(0));
  }
  json::object& object = body->get_object();
  const std::string version(ResourceVersionOf(object));
  if (type == "BOOKMARK") {
    ++counters_.bookmarks;
  } else if (type == "DELETED") {
    ++counters_.events;
    Delete(KeyOf(object));
  } else if (type == "ADDED" || type == "MODIFIED") {
    ++counters_.events;
    Put(std::move(object));
  } else {
    return Fail(Error(absl::StatusCode::kUnavailable, "{}: found a watch event of type {:?}",
                      ToString(options_.resource), type.substr(0, 32)));
  }
  if (!version.empty()) resource_version_ = version;
  backoff_.Reset();
  return std::nullopt;
}

ReflectorCore::Action ReflectorCore::OnWatchEnd(const Status& why, std::chrono::milliseconds lasted) {
  if (lasted >= kLongEnough) backoff_.Reset();
  // The server ends it at its timeout, and when it shuts down: a moment's pause keeps one that ends every
  // watch at once from being asked in a tight loop.
  if (why.ok()) return Wait{backoff_.Next()};
  switch (why.code()) {
    case absl::StatusCode::kOutOfRange:
      return Relist(why);
    case absl::StatusCode::kNotFound:  // its CRD has gone: the list will say so
      resource_version_.clear();
      return Wait{backoff_.Next()};
    default:
      return Fail(why);
  }
}

ReflectorCore::Action ReflectorCore::Fail(const Status& status) {
  ++counters_.errors;
  if (!stopped_ && callbacks_.on_error) callbacks_.on_error(status);
  return Wait{std::max<std::chrono::milliseconds>(backoff_.Next(), RetryAfterOf(status))};
}

ReflectorCore::Action ReflectorCore::Relist(const Status& why) {
  ++counters_.errors;
  ++counters_.expired;
  if (!stopped_ && callbacks_.on_error) callbacks_.on_error(why);
  resource_version_.clear();
  listing_ = false;
  // At once the first time; with pauses when it keeps happening.
  const bool again = backoff_.attempts() > 0;
  const std::chrono::milliseconds delay = backoff_.Next();
  if (again) return Wait{delay};
  return BeginList();
}

ReflectorCore::Action ReflectorCore::Absent() {
  listing_ = whole_ = synced_ = false;
  resource_version_.clear();
  ++list_;
  Sweep();
  backoff_.Reset();
  if (!std::exchange(absent_, true) && !stopped_ && callbacks_.on_absent) callbacks_.on_absent();
  return Wait{options_.absent_retry};
}

void ReflectorCore::Put(json::object&& object) {
  if (stopped_) return;
  const ObjectKey key = KeyOf(object);
  std::string version(ResourceVersionOf(object));
  const auto known = held_.find(key);
  if (known != held_.end() && known->second.resource_version == version) {
    known->second.list = list_;
    return;
  }
  if (json::value* metadata = object.if_contains("metadata"); metadata != nullptr && metadata->is_object())
    metadata->get_object().erase("managedFields");
  if (callbacks_.trim && !callbacks_.trim(object)) return Delete(key);
  held_.insert_or_assign(key, Held{std::move(version), list_});
  if (callbacks_.on_put) callbacks_.on_put(std::move(object));
}

void ReflectorCore::Delete(const ObjectKey& key) {
  if (held_.erase(key) > 0 && !stopped_ && callbacks_.on_delete) callbacks_.on_delete(key);
}

void ReflectorCore::Sweep() {
  for (auto it = held_.begin(); it != held_.end();) {
    if (it->second.list == list_) {
      ++it;
      continue;
    }
    const ObjectKey key = it->first;
    it = held_.erase(it);
    if (!stopped_ && callbacks_.on_delete) callbacks_.on_delete(key);
  }
}

}  // namespace weir::kubernetes
