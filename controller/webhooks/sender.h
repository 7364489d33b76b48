// Notifications on their way: per webhook one at a time and in order, again after a failure, given up after
// the webhook's `retries`. The io_context's thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "common/backoff.h"
#include "common/clock.h"
#include "common/http_client.h"
#include "controller/model/objects.h"
#include "controller/webhooks/events.h"

namespace weir::webhooks {

/// Hexadecimal HMAC-SHA256 (RFC 2104) of `text`.
std::string HmacSha256(std::string_view secret, std::string_view text);

/// What has become of one webhook's notifications since the start of the process.
struct Report {
  uint64_t delivered = 0;
  uint64_t retried = 0;  // sent again after a failure
  uint64_t failed = 0;   // given up: refused for good, or no retries left
  uint64_t dropped = 0;  // never given up: too many were waiting, or the webhook went
  size_t waiting = 0;
  std::string last_error;  // empty: none yet
  WallTime last_error_at{};
};

/// Whose notifications they are.
class Owner {
 public:
  virtual ~Owner() = default;
  /// The webhook as it is now; null when there is none.
  virtual const model::Webhook* FindWebhook(const model::ObjectKey& key) const = 0;
  /// The notification is out of the sender's hands: delivered, given up or dropped. Never from within
  /// Offer().
  virtual void OnNotified(const model::ObjectKey& rollout, uint64_t number) = 0;
};

class Sender {
 public:
  struct Options {
    size_t max_waiting = 256;  // per webhook; beyond it the oldest are dropped
    Backoff::Options backoff{.initial = std::chrono::milliseconds(1000),
                             .max = std::chrono::milliseconds(60'000)};
  };
  /// As HttpClient::Call.
  using Send = std::function<void(HttpCall, HttpClient::Done)>;

  /// Context, clock and owner must outlive it; no answer may come when it is gone.
  Sender(boost::asio::io_context& context, const Clock& clock, RandomSource random, const Options& options,
         Send send, Owner& owner);
  ~Sender();
  Sender(const Sender&) = delete;
  Sender& operator=(const Sender&) = delete;

  /// Queues it; one that is queued already is not queued again.
  void Offer(const model::ObjectKey& rollout, const Notification& notification);
  /// Of a webhook that has had no notification all is 0.
  Report ReportOf(const model::ObjectKey& webhook) const;
  /// What is queued stays undone, for the next start.
  void Shutdown();

 private:
  struct Item {
    model::ObjectKey rollout;
    Notification notification;
  };
  struct Queue {
    Queue(boost::asio::io_context& context, const Backoff::Options& options, const RandomSource& random)
        : timer(context), backoff(options, random) {}
    std::deque<Item> items;  // the first is under way while `busy`
    boost::asio::steady_timer timer;
    Backoff backoff;
    bool busy = false;  // an answer or the end of a delay is awaited
    Report report;
  };

  void PumpSoon(const model::ObjectKey& webhook);
  void Pump(const model::ObjectKey& webhook);
  void OnAnswer(const model::ObjectKey& webhook, const Result<HttpAnswer>& answer, uint32_t retries);
  void Retry(const model::ObjectKey& webhook, Queue& queue);
  void Drop(const model::ObjectKey& webhook, Queue& queue, size_t index, std::string_view reason);
  void Erase(Queue& queue, size_t index);

  boost::asio::io_context& context_;
  const Clock& clock_;
  const RandomSource random_;
  const Options options_;
  const Send send_;
  Owner& owner_;
  std::map<model::ObjectKey, Queue> queues_;  // by webhook
  std::set<std::pair<model::ObjectKey, uint64_t>> offered_;
  bool shut_down_ = false;
};

}  // namespace weir::webhooks
