#include "controller/kubernetes/client/resource.h"

#include <ctime>

#include "common/url.h"

namespace weir::kubernetes {
namespace {

constexpr size_t kMaxDepth = 256;

/// metadata.NAME as text; empty where it is missing or none.
std::string_view Metadata(const boost::json::object& object, std::string_view name) {
  const boost::json::value* metadata = object.if_contains("metadata");
  return metadata == nullptr ? std::string_view() : Text(*metadata, {name});
}

}  // namespace

std::string Resource::ApiVersion() const { return group.empty() ? version : group + "/" + version; }

std::string ToString(const Resource& resource) {
  return resource.group.empty() ? resource.plural : resource.plural + "." + resource.group;
}

std::string CollectionPath(const Resource& resource, std::string_view ns) {
  std::string path = (resource.group.empty() ? "/api/" : "/apis/") + resource.ApiVersion();
  if (!ns.empty()) path += "/namespaces/" + EncodeQuery(ns);
  return path + "/" + resource.plural;
}

std::string ObjectPath(const Resource& resource, const ObjectKey& key, std::string_view subresource) {
  std::string path = CollectionPath(resource, key.ns) + "/" + EncodeQuery(key.name);
  if (!subresource.empty()) path.append("/").append(subresource);
  return path;
}

Result<boost::json::value> ParseJson(std::string_view text) {
  boost::json::parse_options options;
  options.max_depth = kMaxDepth;
  boost::json::error_code error;
  boost::json::value value = boost::json::parse(text, error, {}, options);
  if (error) return InvalidArgument("found {} bytes that are no JSON: {}", text.size(), error.message());
  return value;
}

const boost::json::value* Find(const boost::json::object& object,
                               std::initializer_list<std::string_view> path) {
  const boost::json::value* at = nullptr;
  const boost::json::object* in = &object;
  for (const std::string_view name : path) {
    at = in == nullptr ? nullptr : in->if_contains(name);
    if (at == nullptr) return nullptr;
    in = at->if_object();
  }
  return at;
}

const boost::json::value* Find(const boost::json::value& value,
                               std::initializer_list<std::string_view> path) {
  const boost::json::object* object = value.if_object();
  return object == nullptr ? nullptr : Find(*object, path);
}

namespace {

std::string_view TextOf(const boost::json::value* value) {
  const boost::json::string* text = value == nullptr ? nullptr : value->if_string();
  return text == nullptr ? std::string_view() : std::string_view(text->data(), text->size());
}

}  // namespace

std::string_view Text(const boost::json::value& value, std::initializer_list<std::string_view> path) {
  return TextOf(Find(value, path));
}
std::string_view Text(const boost::json::object& object, std::initializer_list<std::string_view> path) {
  return TextOf(Find(object, path));
}

ObjectKey KeyOf(const boost::json::object& object) {
  return {std::string(Metadata(object, "namespace")), std::string(Metadata(object, "name"))};
}

std::string_view ResourceVersionOf(const boost::json::object& object) {
  return Metadata(object, "resourceVersion");
}

std::string FormatTime(std::chrono::system_clock::time_point time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::string FormatMicroTime(std::chrono::system_clock::time_point time) {
  using std::chrono::microseconds;
  const auto since = std::chrono::floor<microseconds>(time.time_since_epoch());
  const auto second = std::chrono::floor<std::chrono::seconds>(since);
  std::string text = FormatTime(std::chrono::system_clock::time_point(second));
  text.pop_back();
  return fmt::format("{}.{:06}Z", text, (since - second).count());
}

}  // namespace weir::kubernetes
