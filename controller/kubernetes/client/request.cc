#include "controller/kubernetes/client/request.h"

#include "common/url.h"

namespace weir::kubernetes {
namespace {

std::string WriteQuery(const WriteOptions& options) {
  std::string query = "?fieldManager=" + EncodeQuery(options.field_manager);
  if (options.force) query += "&force=true";
  if (options.dry_run) query += "&dryRun=All";
  return query;
}

ApiRequest Patch(const Resource& resource, const ObjectKey& key, const boost::json::value& patch,
                 std::string_view content_type, const WriteOptions& options) {
  ApiRequest request;
  request.method = Method::kPatch;
  request.target = ObjectPath(resource, key, options.subresource) + WriteQuery(options);
  request.body = boost::json::serialize(patch);
  request.content_type = content_type;
  return request;
}

}  // namespace

std::string_view ToString(Method method) {
  switch (method) {
    case Method::kGet:
      return "GET";
    case Method::kPost:
      return "POST";
    case Method::kPut:
      return "PUT";
    case Method::kPatch:
      return "PATCH";
    case Method::kDelete:
      return "DELETE";
  }
  return "GET";
}

bool ApiRequest::Idempotent() const {
  if (method == Method::kPost) return false;
  return method != Method::kPatch || content_type == kMergePatch || content_type == kApplyPatch;
}

ApiRequest GetRequest(const Resource& resource, const ObjectKey& key) {
  ApiRequest request;
  request.target = ObjectPath(resource, key);
  return request;
}

ApiRequest CreateRequest(const Resource& resource, const std::string& ns, const boost::json::object& object,
                         const WriteOptions& options) {
  ApiRequest request;
  request.method = Method::kPost;
  request.target = CollectionPath(resource, ns) + WriteQuery(options);
  request.body = boost::json::serialize(object);
  return request;
}

ApiRequest UpdateRequest(const Resource& resource, const ObjectKey& key, const boost::json::object& object,
                         const WriteOptions& options) {
  ApiRequest request;
  request.method = Method::kPut;
  request.target = ObjectPath(resource, key, options.subresource) + WriteQuery(options);
  request.body = boost::json::serialize(object);
  return request;
}

ApiRequest MergePatchRequest(const Resource& resource, const ObjectKey& key, const boost::json::object& patch,
                             const WriteOptions& options) {
  return Patch(resource, key, patch, kMergePatch, options);
}

ApiRequest JsonPatchRequest(const Resource& resource, const ObjectKey& key,
                            const boost::json::array& operations, const WriteOptions& options) {
  return Patch(resource, key, operations, kJsonPatch, options);
}

ApiRequest ApplyRequest(const Resource& resource, const ObjectKey& key, const boost::json::object& object,
                        const WriteOptions& options) {
  return Patch(resource, key, object, kApplyPatch, options);
}

ApiRequest StatusPatchRequest(const Resource& resource, const ObjectKey& key,
                              const boost::json::value& status, std::string_view resource_version) {
  boost::json::object patch{{"status", status}};
  if (!resource_version.empty()) patch["metadata"] = {{"resourceVersion", resource_version}};
  return MergePatchRequest(resource, key, patch, {.subresource = "status"});
}

ApiRequest DeleteRequest(const Resource& resource, const ObjectKey& key, std::string_view uid) {
  boost::json::object options{
      {"apiVersion", "v1"}, {"kind", "DeleteOptions"}, {"propagationPolicy", "Background"}};
  if (!uid.empty()) options["preconditions"] = {{"uid", uid}};
  ApiRequest request;
  request.method = Method::kDelete;
  request.target = ObjectPath(resource, key);
  request.body = boost::json::serialize(options);
  return request;
}

}  // namespace weir::kubernetes
