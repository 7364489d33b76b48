// The requests Weir makes, as values: build one here, send it with Client. Pure.
#pragma once

#include <boost/json.hpp>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "controller/kubernetes/client/resource.h"

namespace weir::kubernetes {

enum class Method : uint8_t { kGet, kPost, kPut, kPatch, kDelete };
std::string_view ToString(Method method);

inline constexpr std::string_view kJson = "application/json";
inline constexpr std::string_view kMergePatch = "application/merge-patch+json";  // RFC 7396
inline constexpr std::string_view kJsonPatch = "application/json-patch+json";    // RFC 6902
inline constexpr std::string_view kApplyPatch = "application/apply-patch+yaml";  // takes JSON too

/// Who Weir is in managedFields.
inline constexpr std::string_view kFieldManager = "weir-controller";

struct ApiRequest {
  Method method = Method::kGet;
  std::string target;  // path and query
  std::string body;
  std::string content_type{kJson};
  std::string accept{kJson};
  std::chrono::milliseconds timeout{10'000};  // of all: a connection, waiting for 429, the answer
  bool urgent = false;                        // waits for no connection that others use: renewing a Lease

  /// Doing it twice leaves what doing it once does: GET, PUT, DELETE, merge and apply patches.
  bool Idempotent() const;
};

struct WriteOptions {
  std::string subresource;  // "status", "scale"
  std::string field_manager{kFieldManager};
  bool force = false;    // ApplyRequest: take fields over from other managers, else a conflict is ABORTED
  bool dry_run = false;  // all of admission and validation, nothing stored
};

ApiRequest GetRequest(const Resource& resource, const ObjectKey& key);
/// `object` as a whole, with apiVersion and kind.
ApiRequest CreateRequest(const Resource& resource, const std::string& ns, const boost::json::object& object,
                         const WriteOptions& options = {});
/// A PUT: with metadata.resourceVersion in `object` it is ABORTED when somebody else has written since.
ApiRequest UpdateRequest(const Resource& resource, const ObjectKey& key, const boost::json::object& object,
                         const WriteOptions& options = {});
/// With metadata.resourceVersion in `patch`, as UpdateRequest.
ApiRequest MergePatchRequest(const Resource& resource, const ObjectKey& key, const boost::json::object& patch,
                             const WriteOptions& options = {});
/// A `test` operation that fails is INVALID_ARGUMENT (422).
ApiRequest JsonPatchRequest(const Resource& resource, const ObjectKey& key,
                            const boost::json::array& operations, const WriteOptions& options = {});
/// Server-side apply: `object` holds apiVersion, kind, metadata.name and exactly the fields that are Weir's;
/// those it held before and leaves out now are removed.
/// https://kubernetes.io/docs/reference/using-api/server-side-apply/
ApiRequest ApplyRequest(const Resource& resource, const ObjectKey& key, const boost::json::object& object,
                        const WriteOptions& options = {});
/// {"status": `status`} merged into the status subresource; with a `resource_version`, as UpdateRequest.
ApiRequest StatusPatchRequest(const Resource& resource, const ObjectKey& key,
                              const boost::json::value& status, std::string_view resource_version = {});
/// `uid`, if not empty: only that very object, else ABORTED. Dependants are deleted in the background.
ApiRequest DeleteRequest(const Resource& resource, const ObjectKey& key, std::string_view uid = {});

}  // namespace weir::kubernetes
