// List and watch as a state machine: answers in, the next request and what has become of objects out. Pure.
#pragma once

#include <boost/json.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "common/backoff.h"
#include "common/status.h"
#include "controller/kubernetes/client/request.h"

namespace weir::kubernetes {

struct ReflectorOptions {
  Resource resource;
  std::string ns;  // empty: all
  std::string label_selector, field_selector;
  bool metadata_only = false;  // objects are PartialObjectMetadata: metadata and nothing else
  size_t page = 500;           // objects per list request
  std::chrono::seconds watch_min{300}, watch_max{600};  // a watch is asked for so long, at random
  std::chrono::seconds absent_retry{60};                // how often to look for a resource that is not served
  Backoff::Options backoff{std::chrono::milliseconds(800), std::chrono::milliseconds(30'000), 2.0};
};

struct ReflectorCallbacks {
  /// Takes what is not needed out of an object before anything is kept of it; managedFields are gone already.
  /// False: not wanted at all, as if it did not exist. None: all is wanted.
  std::function<bool(boost::json::object&)> trim;
  /// New, or another resourceVersion than before. While a list is under way they come page by page.
  std::function<void(boost::json::object&&)> on_put;
  /// Gone, or not wanted any more. Only for what was put before.
  std::function<void(const ObjectKey&)> on_delete;
  /// A list is whole, the first one or a later one: what was put and not deleted is what exists.
  std::function<void()> on_synced;
  /// The server knows no such resource (its CRD is not installed); what was put before has been deleted. Each
  /// time it is found so after it was there, and the first time.
  std::function<void()> on_absent;
  /// Something failed and is tried again: for logs.
  std::function<void(const Status&)> on_error;
};

/// Counted since the start.
struct ReflectorCounters {
  uint64_t lists = 0;    // begun, relists among them
  uint64_t relists = 0;  // begun though there had been a whole one
  uint64_t pages = 0;    // answered
  uint64_t watches = 0;  // begun
  uint64_t events = 0;   // ADDED, MODIFIED, DELETED
  uint64_t bookmarks = 0;
  uint64_t errors = 0;   // of lists and watches, ERROR events among them; the plain end of a watch is none
  uint64_t expired = 0;  // 410 of them
};

class ReflectorCore {
 public:
  struct List {
    ApiRequest request;  // its answer: OnPage
  };
  struct Watch {
    ApiRequest request;            // its lines: OnLine; its end: OnWatchEnd
    std::chrono::seconds timeout;  // the server ends it then
  };
  struct Wait {
    std::chrono::milliseconds delay;  // then: Next
  };
  using Action = std::variant<List, Watch, Wait>;

  ReflectorCore(ReflectorOptions options, ReflectorCallbacks callbacks, RandomSource random);

  /// At the beginning, and after each Wait.
  Action Next();
  Action OnPage(Result<boost::json::value> page);
  /// A line of the watch. An action: the watch is over, and is to be closed.
  std::optional<Action> OnLine(std::string_view line);
  /// `why`: OK when the server ended it; `lasted`: since it was opened.
  Action OnWatchEnd(const Status& why, std::chrono::milliseconds lasted);
  /// No further callbacks, even of the call that is under way.
  void Stop() { stopped_ = true; }

  bool synced() const { return synced_; }
  bool absent() const { return absent_; }
  size_t size() const { return held_.size(); }
  const ReflectorCounters& counters() const { return counters_; }
  const ReflectorOptions& options() const { return options_; }

 private:
  struct Held {
    std::string resource_version;
    uint32_t list = 0;  // number of the list that saw it last
  };

  std::string Query() const;
  Action BeginList();
  Action AskPage();
  Action BeginWatch();
  Action Fail(const Status& status);
  Action Absent();
  Action Relist(const Status& why);
  void Put(boost::json::object&& object);
  void Delete(const ObjectKey& key);
  void Sweep();

  ReflectorOptions options_;
  ReflectorCallbacks callbacks_;
  RandomSource random_;
  Backoff backoff_;
  ReflectorCounters counters_;
  std::map<ObjectKey, Held> held_;
  uint32_t list_ = 0;     // number of the list under way or done
  bool listing_ = false;  // between its first page and its last
  bool whole_ = false;    // ask for it without pages: its continue tokens expire too soon
  bool synced_ = false, absent_ = false, was_synced_ = false, stopped_ = false;
  std::string continue_;          // of the next page
  std::string resource_version_;  // to watch from; empty: list first
};

}  // namespace weir::kubernetes
