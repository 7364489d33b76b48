// Resources of the API and the paths under which they are served; the few fields every object has. Pure.
#pragma once

#include <boost/json.hpp>
#include <chrono>
#include <initializer_list>
#include <string>
#include <string_view>

#include "common/status.h"
#include "controller/model/objects.h"

namespace weir::kubernetes {

using model::ObjectKey;  // `ns` is empty for cluster-scoped objects

/// {"apps", "v1", "deployments"}; `group` is empty for the core group.
struct Resource {
  std::string group, version, plural;
  auto operator<=>(const Resource&) const = default;

  /// "apps/v1", "v1".
  std::string ApiVersion() const;
};
/// "deployments.apps", as kubectl and RBAC name it.
std::string ToString(const Resource& resource);

/// "/apis/apps/v1/namespaces/shop/deployments"; `ns` empty: across all namespaces, or a cluster-scoped
/// resource.
std::string CollectionPath(const Resource& resource, std::string_view ns);
/// "/apis/apps/v1/namespaces/shop/deployments/checkout/status"; `subresource` may be empty.
std::string ObjectPath(const Resource& resource, const ObjectKey& key, std::string_view subresource = {});

/// INVALID_ARGUMENT for what is no JSON; deeper than Boost.JSON allows by itself, as managedFields and
/// schemas are.
Result<boost::json::value> ParseJson(std::string_view text);

/// A member of an object, by names from the outside in; null pointer where one is missing or no object.
const boost::json::value* Find(const boost::json::value& value, std::initializer_list<std::string_view> path);
const boost::json::value* Find(const boost::json::object& object,
                               std::initializer_list<std::string_view> path);
/// The same as a string; empty where it is missing or none. Both point into the argument.
std::string_view Text(const boost::json::value& value, std::initializer_list<std::string_view> path);
std::string_view Text(const boost::json::object& object, std::initializer_list<std::string_view> path);

ObjectKey KeyOf(const boost::json::object& object);
std::string_view ResourceVersionOf(const boost::json::object& object);

/// As MicroTime and Time are written: "2026-01-02T03:04:05.678901Z", "2026-01-02T03:04:05Z".
std::string FormatMicroTime(std::chrono::system_clock::time_point time);
std::string FormatTime(std::chrono::system_clock::time_point time);

}  // namespace weir::kubernetes
