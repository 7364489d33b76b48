// weir.dev/v1alpha1 Webhook: who is told what becomes of the rollouts of a namespace.
#include <absl/strings/escaping.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "common/url.h"
#include "controller/model/kinds.h"
#include "controller/model/webhook_body.h"

namespace weir::model {
namespace {

constexpr int64_t kMaxRetries = 20;
constexpr size_t kMaxBody = 65'536, kMaxCaBundle = 65'536;
// Set by Weir itself, or by HTTP.
constexpr std::string_view kOwnHeaders[] = {
    "host",         "content-length",  "transfer-encoding",   "connection",
    "x-weir-event", "x-weir-delivery", "x-weir-signature-256"};

bool IsToken(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos;
  });
}

void ReadEvents(const Cursor& field, Webhook& webhook) {
  webhook.events.clear();
  const auto items = field.Items();
  for (const Cursor& item : items) {
    if (const auto event = item.OneOf({"started", "paused", "step", "aborted", "completed"}))
      webhook.events.insert(*event);
  }
  if (items.empty()) field.Fail("at least one event", "leave it out for all of them");
}

void ReadHeaders(const Cursor& field, Webhook& webhook) {
  const auto items = field.Items();
  for (const Cursor& item : items) {
    if (!item.ExpectMap({"key", "value"})) continue;
    const auto key = item.RequireString("key", "the name of a header");
    const auto value = item.RequireString("value", "its value");
    if (!key || !value) continue;
    std::string lower = *key;
    std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
    if (!IsToken(*key) || std::ranges::find(kOwnHeaders, lower) != std::end(kOwnHeaders)) {
      item.Find("key")->Fail("the name of a header that Weir does not set itself");
    } else if (std::ranges::any_of(*value, [](unsigned char c) { return c < 0x20 || c == 0x7f; })) {
      item.Find("value")->FailText("found a control character, expected one line of text");
    }
    webhook.headers.emplace_back(*key, *value);
  }
}

/// Complaints do not repeat it: they go to terminals and logs.
std::string ReadSecret(const Cursor& field) {
  std::vector<YamlError> unused;
  const auto secret = Cursor(field.node(), unused).String();
  if (!secret || secret->empty())
    field.FailText("found no string, or an empty one, expected a string in quotes");
  return secret.value_or("");
}

/// As clientConfig.caBundle of Kubernetes' own webhooks.
std::string ReadCaBundle(const Cursor& field) {
  const auto text = field.String();
  if (!text) return "";
  std::string pem;
  const bool decoded = absl::Base64Unescape(ToAbsl(*text), &pem);
  if (!decoded || pem.find("-----BEGIN CERTIFICATE-----") == std::string::npos ||
      pem.find("-----END CERTIFICATE-----") == std::string::npos) {
    field.FailText("found no certificate, expected PEM (BEGIN CERTIFICATE) in base64; base64 -w0 ca.crt");
  }
  if (text->size() > kMaxCaBundle) field.FailText(fmt::format("found more than {} bytes", kMaxCaBundle));
  return pem;
}

}  // namespace

Webhook ReadWebhook(const Cursor& document, const Metadata& metadata) {
  Webhook webhook;
  webhook.key = metadata.key;
  document.ExpectMap({"apiVersion", "kind", "metadata", "spec", "status"});
  const auto spec = document.Require("spec", "a map with url");
  if (!spec || !spec->ExpectMap(
                   {"url", "events", "headers", "bodyTemplate", "secret", "timeout", "retries", "caBundle"}))
    return webhook;
  if (const auto url =
          spec->RequireString("url", "where to send it", "such as https://hooks.example.com/x")) {
    webhook.url = *url;
    if (const auto parsed = ParseUrl(*url); !parsed.ok())
      spec->Find("url")->FailText(Message(parsed.status()));
  }
  if (const auto events = spec->Find("events")) ReadEvents(*events, webhook);
  if (const auto headers = spec->Find("headers")) ReadHeaders(*headers, webhook);
  if (const auto body = spec->StringAt("bodyTemplate")) {
    webhook.body_template = *body;
    if (const Status status = CheckWebhookBody(*body); !status.ok())
      spec->Find("bodyTemplate")->FailText(Message(status));
    if (body->size() > kMaxBody) spec->Find("bodyTemplate")->Fail(fmt::format("at most {} bytes", kMaxBody));
  }
  if (const auto secret = spec->Find("secret")) webhook.secret = ReadSecret(*secret);
  if (const auto bundle = spec->Find("caBundle")) {
    webhook.ca_pem = ReadCaBundle(*bundle);
    if (!webhook.url.starts_with("https://"))
      bundle->FailText("found it beside a url without TLS, expected https://; remove one of them");
  }
  if (const auto timeout = spec->Find("timeout"))
    webhook.timeout = ReadDuration(*timeout, "leave it out for 10s").value_or(webhook.timeout);
  if (const auto retries = spec->Find("retries"))
    webhook.retries = static_cast<uint32_t>(retries->Integer(0, kMaxRetries).value_or(0));
  return webhook;
}

}  // namespace weir::model
