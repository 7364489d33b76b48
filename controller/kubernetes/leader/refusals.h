// Objects that are not in force as they are written: an Event about each, once per reason, as some of them
// have no status that could say it. One thread.
#pragma once

#include <boost/json.hpp>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "controller/kubernetes/client/event_book.h"
#include "controller/kubernetes/source/catalog.h"

namespace weir::kubernetes {

class Refusals {
 public:
  /// Writes the Event: about what, and why it is refused.
  using Tell = std::function<void(const EventSubject&, const std::string& why)>;

  explicit Refusals(Tell tell) : tell_(std::move(tell)) {}

  /// Rollouts, TrafficSplits, AnalysisTemplates and Webhooks; others are passed over. With kind and
  /// apiVersion.
  void Put(const boost::json::object& object);
  void Remove(std::string_view kind, const ObjectKey& key);

  /// Tells what is refused now and was not, or for another reason.
  void Look(const Catalog& catalog);

 private:
  struct Entry {
    EventSubject subject;
    std::string told;  // the reason; empty: it is in force
  };

  Tell tell_;
  std::map<model::ObjectId, Entry> objects_;
};

}  // namespace weir::kubernetes
