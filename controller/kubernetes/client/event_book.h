// Which events are worth a request: the same one again becomes a series, and nobody floods the API server.
// Pure.
#pragma once

#include <boost/json.hpp>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

#include "common/clock.h"
#include "controller/kubernetes/client/resource.h"

namespace weir::kubernetes {

enum class EventType : uint8_t { kNormal, kWarning };

/// The object an event is about.
struct EventSubject {
  std::string api_version, kind;  // "weir.dev/v1alpha1", "Rollout"
  ObjectKey key;
  std::string uid;
  auto operator<=>(const EventSubject&) const = default;
};

struct EventText {
  EventType type = EventType::kNormal;
  std::string reason;  // UpperCamelCase, at most 128 bytes
  std::string action;  // what was done or tried, at most 128 bytes
  std::string note;    // for people; cut to 1024 bytes
  auto operator<=>(const EventText&) const = default;
};

class EventBook {
 public:
  struct Options {
    std::chrono::seconds series_ends{360};  // one not seen for so long begins anew, as in client-go
    std::chrono::seconds series_interval{
        60};                          // a series' count is written at most so often after its second time
    double burst = 25;                // new events about one object at once, and
    std::chrono::seconds refill{30};  // one more each so often
    size_t max_entries = 4096;
  };
  struct Create {
    ObjectKey key;
    boost::json::object event;
  };
  struct Patch {
    ObjectKey key;
    boost::json::object patch;  // merge patch
  };
  struct Nothing {};
  struct Limited {};
  using Action = std::variant<Nothing, Limited, Create, Patch>;

  /// `instance`: who reports, at most 128 bytes.
  EventBook(std::string instance, const Options& options)
      : instance_(std::move(instance)), options_(options) {}

  Action Record(const EventSubject& regarding, const EventText& text, MonotonicTime now, WallTime wall);
  /// Series whose count has grown since it was written, and now may be; forgets those that have ended.
  std::vector<Patch> Flush(MonotonicTime now);
  /// The server has the event: only now may a series of it be written.
  void Stored(const ObjectKey& event);
  /// The server has no such event any more (they live an hour): it is created anew next time.
  void Gone(const ObjectKey& event);

 private:
  struct Entry {
    ObjectKey event;
    int64_t count = 1;
    int64_t written_count = 1;
    bool stored = false;
    MonotonicTime seen, written;
    WallTime seen_wall;
  };
  struct Bucket {
    double tokens = 0;
    MonotonicTime at;
  };
  using Id = std::tuple<EventSubject, EventText>;

  /// Its count has grown and may be written now: the second time is told at once.
  bool Due(const Entry& entry, MonotonicTime now) const;
  bool Take(const EventSubject& regarding, MonotonicTime now);
  void Forget(MonotonicTime now);
  Patch Write(Entry& entry, MonotonicTime now) const;

  std::string instance_;
  Options options_;
  std::map<Id, Entry> entries_;
  std::map<EventSubject, Bucket> buckets_;
  uint64_t named_ = 0;
};

}  // namespace weir::kubernetes
