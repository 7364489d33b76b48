// status.parents in JSON and back. Boost.JSON's exceptions end here.
#include <boost/json/array.hpp>
#include <exception>

#include "controller/model/route_status.h"
#include "controller/model/timestamp.h"

namespace weir::model {
namespace {

namespace json = boost::json;

json::string Text(std::string_view text) { return json::string(text.data(), text.size()); }

std::string TextOf(const json::value& value) {
  const json::string& text = value.as_string();
  return {text.data(), text.size()};
}

std::optional<std::string> OptionalText(const json::object& object, const char* name) {
  const json::value* value = object.if_contains(name);
  return value == nullptr || value->is_null() ? std::nullopt : std::optional(TextOf(*value));
}

json::object ToJson(const ParentRef& parent) {
  json::object out;
  if (parent.group) out["group"] = Text(*parent.group);
  if (parent.kind) out["kind"] = Text(*parent.kind);
  if (parent.ns) out["namespace"] = Text(*parent.ns);
  out["name"] = Text(parent.name);
  if (parent.section_name) out["sectionName"] = Text(*parent.section_name);
  if (parent.port) out["port"] = *parent.port;
  return out;
}

ParentRef ToParentRef(const json::object& in) {
  ParentRef parent;
  parent.group = OptionalText(in, "group");
  parent.kind = OptionalText(in, "kind");
  parent.ns = OptionalText(in, "namespace");
  parent.name = TextOf(in.at("name"));
  parent.section_name = OptionalText(in, "sectionName");
  if (const json::value* port = in.if_contains("port")) parent.port = port->to_number<uint16_t>();
  return parent;
}

json::object ToJson(const Condition& condition) {
  return {{"type", Text(condition.type)},
          {"status", Text(condition.status)},
          {"reason", Text(condition.reason)},
          {"message", Text(condition.message)},
          {"observedGeneration", condition.observed_generation},
          {"lastTransitionTime", Text(FormatTimestamp(condition.last_transition))}};
}

Condition ToCondition(const json::object& in) {
  Condition condition;
  condition.type = TextOf(in.at("type"));
  condition.status = TextOf(in.at("status"));
  condition.reason = TextOf(in.at("reason"));
  condition.message = OptionalText(in, "message").value_or("");
  if (const json::value* generation = in.if_contains("observedGeneration"))
    condition.observed_generation = generation->to_number<int64_t>();
  condition.last_transition =
      ParseTimestamp(OptionalText(in, "lastTransitionTime").value_or("")).value_or(Created{});
  return condition;
}

}  // namespace

Result<std::vector<RouteParentStatus>> ReadRouteParents(const json::value& route) {
  std::vector<RouteParentStatus> parents;
  try {
    const json::value* status = route.as_object().if_contains("status");
    const json::value* list =
        status == nullptr || status->is_null() ? nullptr : status->as_object().if_contains("parents");
    if (list == nullptr || list->is_null()) return parents;
    for (const json::value& value : list->as_array()) {
      const json::object& in = value.as_object();
      RouteParentStatus entry{
          ToParentRef(in.at("parentRef").as_object()), TextOf(in.at("controllerName")), {}};
      if (const json::value* conditions = in.if_contains("conditions")) {
        for (const json::value& condition : conditions->as_array())
          entry.conditions.push_back(ToCondition(condition.as_object()));
      }
      parents.push_back(std::move(entry));
    }
  } catch (const std::exception& error) {
    return InvalidArgument("status.parents: found {}, expected what Gateway API has there", error.what());
  }
  return parents;
}

json::object WriteRouteParents(const std::vector<RouteParentStatus>& parents) {
  json::array list;
  for (const RouteParentStatus& entry : parents) {
    json::array conditions;
    for (const Condition& condition : entry.conditions) conditions.push_back(ToJson(condition));
    list.push_back(json::object{{"parentRef", ToJson(entry.parent)},
                                {"controllerName", Text(entry.controller)},
                                {"conditions", std::move(conditions)}});
  }
  return {{"parents", std::move(list)}};
}

}  // namespace weir::model
