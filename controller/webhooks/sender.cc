#include "controller/webhooks/sender.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <boost/asio/post.hpp>

#include "common/log.h"
#include "common/url.h"

namespace weir::webhooks {
namespace {

constexpr size_t kMaxAnswer = size_t{1} << 20;

bool IsSuccess(const Result<HttpAnswer>& answer) {
  return answer.ok() && answer->status >= 200 && answer->status < 300;
}

/// Worth another try: the server may be well again. Any other answer is final, a redirect too: the body and
/// its signature were meant for the server named.
bool IsTransient(const Result<HttpAnswer>& answer) {
  if (!answer.ok()) return answer.status().code() != absl::StatusCode::kInvalidArgument;
  return answer->status >= 500 || answer->status == 408 || answer->status == 425 || answer->status == 429;
}

/// Without what a server may repeat of the request.
std::string ErrorText(const model::Webhook* webhook, const Result<HttpAnswer>& answer) {
  if (!answer.ok()) return Message(answer.status());
  std::string server;
  if (webhook != nullptr) {
    if (const auto url = ParseUrl(webhook->url); url.ok()) server = url->authority() + ": ";
  }
  return fmt::format("{}answered {}", server, answer->status);
}

HttpCall CallOf(const model::Webhook& webhook, const Url& url, const Notification& notification) {
  HttpCall call;
  call.method = "POST";
  call.url = url;
  call.timeout = webhook.timeout;
  call.max_body = kMaxAnswer;
  call.ca_pem = webhook.ca_pem;
  call.body = model::RenderWebhookBody(
      webhook.body_template.empty() ? model::DefaultWebhookBody() : webhook.body_template,
      notification.fields);
  // The webhook's own replace Content-Type, if they will, but nothing that the model refuses.
  call.headers = {{"Content-Type", "application/json"}};
  call.headers.insert(call.headers.end(), webhook.headers.begin(), webhook.headers.end());
  call.headers.emplace_back("X-Weir-Event", notification.fields.at("event"));
  call.headers.emplace_back("X-Weir-Delivery", notification.fields.at("id"));
  if (!webhook.secret.empty())
    call.headers.emplace_back("X-Weir-Signature-256", "sha256=" + HmacSha256(webhook.secret, call.body));
  return call;
}

}  // namespace

std::string HmacSha256(std::string_view secret, std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data(), &size);
  std::string hex;
  for (unsigned i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest.at(i));
  return hex;
}

Sender::Sender(boost::asio::io_context& context, const Clock& clock, RandomSource random,
               const Options& options, Send send, Owner& owner)
    : context_(context),
      clock_(clock),
      random_(std::move(random)),
      options_(options),
      send_(std::move(send)),
      owner_(owner) {}

Sender::~Sender() { Shutdown(); }

void Sender::Offer(const model::ObjectKey& rollout, const Notification& notification) {
  if (shut_down_ || !offered_.emplace(rollout, notification.number).second) return;
  const model::ObjectKey webhook{rollout.ns, notification.webhook};
  Queue& queue = queues_.try_emplace(webhook, context_, options_.backoff, random_).first->second;
  queue.items.push_back({rollout, notification});
  PumpSoon(webhook);
}

Report Sender::ReportOf(const model::ObjectKey& webhook) const {
  const auto found = queues_.find(webhook);
  if (found == queues_.end()) return {};
  Report report = found->second.report;
  report.waiting = found->second.items.size();
  return report;
}

/// Not now: the caller is in the middle of a change, or of a queue.
void Sender::PumpSoon(const model::ObjectKey& webhook) {
  boost::asio::post(context_, [this, webhook] { Pump(webhook); });
}

void Sender::Pump(const model::ObjectKey& webhook) {
  const auto found = queues_.find(webhook);
  if (shut_down_ || found == queues_.end()) return;
  Queue& queue = found->second;
  while (queue.items.size() > options_.max_waiting)
    Drop(webhook, queue, queue.busy ? 1 : 0, "too many wait for their webhook");
  if (queue.busy) return;
  const model::Webhook* const object = owner_.FindWebhook(webhook);
  if (object == nullptr) {
    while (!queue.items.empty()) Drop(webhook, queue, 0, "there is no such webhook any more");
    queues_.erase(found);
    return;
  }
  if (queue.items.empty()) return;
  queue.busy = true;
  auto done = [this, webhook, retries = object->retries](const Result<HttpAnswer>& answer) {
    OnAnswer(webhook, answer, retries);
  };
  const auto url = ParseUrl(object->url);
  if (!url.ok()) return boost::asio::post(context_, [done, error = url.status()] { done(error); });
  send_(CallOf(*object, *url, queue.items.front().notification), std::move(done));
}

void Sender::OnAnswer(const model::ObjectKey& webhook, const Result<HttpAnswer>& answer, uint32_t retries) {
  if (shut_down_) return;
  Queue& queue = queues_.at(webhook);
  queue.busy = false;
  if (IsSuccess(answer)) {
    ++queue.report.delivered;
  } else {
    queue.report.last_error = ErrorText(owner_.FindWebhook(webhook), answer);
    queue.report.last_error_at = clock_.WallNow();
    if (IsTransient(answer) && static_cast<uint32_t>(queue.backoff.attempts()) < retries)
      return Retry(webhook, queue);
    ++queue.report.failed;
    LogWarn("a notification was given up", {{"webhook", model::ToString(webhook)},
                                            {"id", queue.items.front().notification.fields.at("id")},
                                            {"event", queue.items.front().notification.fields.at("event")},
                                            {"error", queue.report.last_error}});
  }
  queue.backoff.Reset();
  Erase(queue, 0);
  PumpSoon(webhook);
}

void Sender::Retry(const model::ObjectKey& webhook, Queue& queue) {
  queue.busy = true;
  queue.timer.expires_after(queue.backoff.Next());
  queue.timer.async_wait([this, webhook](boost::system::error_code error) {
    if (error || shut_down_) return;
    Queue& waiting = queues_.at(webhook);
    waiting.busy = false;
    ++waiting.report.retried;
    Pump(webhook);
  });
}

void Sender::Drop(const model::ObjectKey& webhook, Queue& queue, size_t index, std::string_view reason) {
  ++queue.report.dropped;
  LogWarn("a notification was dropped", {{"webhook", model::ToString(webhook)},
                                         {"id", queue.items[index].notification.fields.at("id")},
                                         {"event", queue.items[index].notification.fields.at("event")},
                                         {"reason", reason}});
  Erase(queue, index);
}

/// Ends one, whatever came of it.
void Sender::Erase(Queue& queue, size_t index) {
  const auto place = queue.items.begin() + static_cast<std::ptrdiff_t>(index);
  const Item item = std::move(*place);
  queue.items.erase(place);
  // Afterwards: what the owner cannot strike out is offered again.
  owner_.OnNotified(item.rollout, item.notification.number);
  offered_.erase({item.rollout, item.notification.number});
}

void Sender::Shutdown() {
  if (std::exchange(shut_down_, true)) return;
  for (auto& [key, queue] : queues_) queue.timer.cancel();
}

}  // namespace weir::webhooks
