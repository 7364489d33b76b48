#include "controller/model/json_object.h"

#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <utility>

#include "controller/model/kinds.h"
#include "controller/model/yaml_tree.h"

namespace weir::model {
namespace {

namespace json = boost::json;

std::shared_ptr<YamlNode> Scalar(std::string text, bool plain) {
  auto node = std::make_shared<YamlNode>();
  node->kind = YamlNode::Kind::kScalar;
  node->plain = plain;
  node->text = std::move(text);
  return node;
}

std::string TextOf(const json::string& text) { return {text.data(), text.size()}; }

std::shared_ptr<YamlNode> ToNode(const json::value& value);

std::shared_ptr<YamlNode> ToNode(const json::object& object) {
  auto node = std::make_shared<YamlNode>();
  node->kind = YamlNode::Kind::kMap;
  node->entries.reserve(object.size());
  for (const auto& [key, value] : object) {
    // Who wrote which field: most of an object's text, and none of its meaning.
    if (key == "managedFields") continue;
    node->entries.push_back({std::string(key.data(), key.size()), 0, ToNode(value)});
  }
  return node;
}

std::shared_ptr<YamlNode> ToNode(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return std::make_shared<YamlNode>();
    case json::kind::bool_:
      return Scalar(value.get_bool() ? "true" : "false", true);
    case json::kind::int64:
      return Scalar(std::to_string(value.get_int64()), true);
    case json::kind::uint64:
      return Scalar(std::to_string(value.get_uint64()), true);
    case json::kind::double_:
      return Scalar(json::serialize(value), true);
    case json::kind::string:
      return Scalar(TextOf(value.get_string()), false);
    case json::kind::object:
      return ToNode(value.get_object());
    case json::kind::array: {
      auto node = std::make_shared<YamlNode>();
      node->kind = YamlNode::Kind::kSequence;
      for (const json::value& item : value.get_array()) node->items.push_back(ToNode(item));
      return node;
    }
  }
  return std::make_shared<YamlNode>();
}

}  // namespace

Result<Object> ReadJson(const json::object& object, std::string_view api_version, std::string_view kind) {
  const auto node = ToNode(object);
  const auto set_default = [&](std::string_view field, std::string_view text) {
    if (object.contains({field.data(), field.size()})) return;
    node->entries.push_back({std::string(field), 0, Scalar(std::string(text), false)});
  };
  set_default("apiVersion", api_version);
  set_default("kind", kind);
  return ReadNode(*node);
}

}  // namespace weir::model
