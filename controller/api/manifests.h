// The manifests of a request, read. Pure: any thread.
#pragma once

#include <vector>

#include "common/status.h"
#include "controller/model/manifest.h"
#include "weir/v1/rollouts.pb.h"

namespace weir::api {

using Manifests = std::vector<model::Document>;

/// All documents of all files. INVALID_ARGUMENT lists every error of every file, one per line; an object that
/// is found twice is one. Takes about 0.1 ms a document.
Result<Manifests> ReadManifests(const google::protobuf::RepeatedPtrField<v1::ManifestFile>& files);

}  // namespace weir::api
