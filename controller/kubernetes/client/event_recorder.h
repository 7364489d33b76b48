// Events of events.k8s.io/v1 about objects: what `kubectl describe` shows below them.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "controller/kubernetes/client/client.h"
#include "controller/kubernetes/client/event_book.h"

namespace weir::kubernetes {

/// Fire and forget: an event that cannot be written is logged and counted, never waited for. The Client's
/// thread.
class EventRecorder {
 public:
  /// `client` must outlive it. `instance` is who reports: the pod's name.
  EventRecorder(Client& client, const std::string& instance, const EventBook::Options& options = {});
  /// What was not sent yet is not sent.
  ~EventRecorder();
  EventRecorder(const EventRecorder&) = delete;
  EventRecorder& operator=(const EventRecorder&) = delete;

  /// The same event again becomes a series of the first one (event_book.h).
  void Record(const EventSubject& regarding, EventType type, const std::string& reason,
              const std::string& action, const std::string& note);

  struct Counters {
    uint64_t written = 0, limited = 0, failed = 0;
  };
  const Counters& counters() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace weir::kubernetes
