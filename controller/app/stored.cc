#include "controller/app/stored.h"

#include <boost/json.hpp>
#include <memory>
#include <optional>

#include "controller/engine/engine_json.h"
#include "controller/model/yaml_tree.h"

namespace weir::app {
namespace json = boost::json;

std::string ToStored(const RolloutEntry& entry) {
  json::object weights{{"stable", entry.weights.stable},
                       {"canary", entry.weights.canary},
                       {"stable_weight", entry.weights.stable_weight},
                       {"canary_weight", entry.weights.canary_weight},
                       {"previous", entry.weights.previous},
                       {"round", entry.weights.round}};
  json::array outbox;
  for (const auto& notification : entry.outbox) {
    outbox.push_back(json::object{{"number", notification.number},
                                  {"webhook", notification.webhook},
                                  {"fields", json::value_from(notification.fields)}});
  }
  json::object all{{"engine", json::parse(engine::ToJson(entry.state))},
                   {"weights", std::move(weights)},
                   {"updated_ms", entry.updated.time_since_epoch().count()},
                   {"outbox", std::move(outbox)},
                   {"notified", entry.notified}};
  return json::serialize(all);
}

Result<RolloutEntry> ParseStored(const std::string& text) {
  RolloutEntry entry;
  json::error_code error;
  json::value parsed = json::parse(text, error);
  if (error) return Error(absl::StatusCode::kDataLoss, "not JSON: {}", error.message());
  std::string engine_text;
  // Boost.JSON's checked access throws; the exceptions end here.
  try {
    const json::object& all = parsed.as_object();
    engine_text = json::serialize(all.at("engine"));
    const json::object& weights = all.at("weights").as_object();
    entry.weights.stable = json::value_to<std::string>(weights.at("stable"));
    entry.weights.canary = json::value_to<std::string>(weights.at("canary"));
    entry.weights.stable_weight = weights.at("stable_weight").to_number<uint32_t>();
    entry.weights.canary_weight = weights.at("canary_weight").to_number<uint32_t>();
    // Weights stored before blue-green have no such field.
    if (const json::value* previous = weights.if_contains("previous"))
      entry.weights.previous = json::value_to<std::string>(*previous);
    // Nor those stored before nodes had a fail safe such a one.
    if (const json::value* round = weights.if_contains("round"))
      entry.weights.round = round->to_number<uint32_t>();
    entry.updated = engine::TimePoint(engine::Duration(all.at("updated_ms").to_number<int64_t>()));
    // Neither do states stored before webhooks.
    if (const json::value* outbox = all.if_contains("outbox")) {
      for (const json::value& item : outbox->as_array()) {
        const json::object& notification = item.as_object();
        entry.outbox.push_back({notification.at("number").to_number<uint64_t>(),
                                json::value_to<std::string>(notification.at("webhook")),
                                json::value_to<model::WebhookFields>(notification.at("fields"))});
      }
      entry.notified = all.at("notified").to_number<uint64_t>();
    }
  } catch (const std::exception& exception) {
    return Error(absl::StatusCode::kDataLoss, "a field is missing or of another type: {}", exception.what());
  }
  ASSIGN_OR_RETURN(entry.state, engine::FromJson(engine_text));
  return entry;
}

Result<std::string> WithRevision(const std::string& yaml, const std::string& revision) {
  // By trees, which keep quotes apart: "123" stays a string, and so does every other value.
  std::optional<model::YamlNode> root;
  const auto errors =
      model::ReadYaml(yaml, [&](const model::YamlDocument& document) { root = *document.root; });
  if (!errors.empty() || !root)
    return Error(absl::StatusCode::kInternal, "set spec.revision: the stored manifest is no YAML");
  for (model::YamlEntry& entry : root->entries) {
    if (entry.key != "spec") continue;
    model::YamlNode spec = *entry.value;
    for (model::YamlEntry& field : spec.entries) {
      if (field.key != "revision") continue;
      model::YamlNode value = *field.value;
      value.plain = false;
      value.text = revision;
      field.value = std::make_shared<const model::YamlNode>(std::move(value));
      entry.value = std::make_shared<const model::YamlNode>(std::move(spec));
      return model::WriteYaml(*root);
    }
  }
  return Error(absl::StatusCode::kInternal, "set spec.revision: the stored manifest has none");
}

}  // namespace weir::app
