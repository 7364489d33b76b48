// From nodes to what the engine wants to know: how many hold a generation, who is away, who refuses.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "controller/dispatch/dispatcher.h"
#include "controller/engine/engine.h"

namespace weir::app {

/// The nodes at one moment, under one ackTimeout: one pass to build, a binary search per question.
class AckView {
 public:
  AckView(const std::map<std::string, dispatch::Node>& nodes, std::chrono::milliseconds ack_timeout,
          MonotonicTime now);

  /// What the engine is told: who refuses counts while a node lacks the generation.
  engine::Acks For(uint64_t generation) const;
  /// What people are told: who refuses that generation or a later one, though it may hold this one. A node
  /// takes nothing new before it takes what it refused, of whichever service that was.
  std::vector<std::string> Refusing(uint64_t generation) const;
  /// When the next node that is away stops to count.
  std::optional<MonotonicTime> next_expiry() const { return next_expiry_; }

 private:
  struct Refusal {
    uint64_t acked, nacked;
    std::string text;
  };
  std::vector<uint64_t> acked_;  // of the nodes that count, sorted
  std::vector<std::string> behind_;
  std::vector<Refusal> refusals_;
  std::optional<MonotonicTime> next_expiry_;
};

/// Views by ackTimeout, built when asked for and kept until nodes change or one stops to count.
class AckViews {
 public:
  AckViews(const dispatch::Dispatcher& dispatcher, const Clock& clock)
      : dispatcher_(dispatcher), clock_(clock) {}

  void Invalidate() { views_.clear(); }
  const AckView& For(std::chrono::milliseconds ack_timeout);

 private:
  const dispatch::Dispatcher& dispatcher_;
  const Clock& clock_;
  std::map<std::chrono::milliseconds, AckView> views_;
};

}  // namespace weir::app
