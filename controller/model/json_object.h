// Objects as the API server sends them. Pure.
#pragma once

#include <boost/json/object.hpp>
#include <string_view>

#include "common/status.h"
#include "controller/model/objects.h"

namespace weir::model {

/// One object, read by the rules of a manifest; but of Kubernetes' own kinds, and in metadata, fields that
/// are not known are passed over. The items of a list that the API server answers with say neither their
/// apiVersion nor their kind: these are taken then. INVALID_ARGUMENT with every error, one per line: "Kind
/// ns/name: field.path: found X, expected Y; remedy".
Result<Object> ReadJson(const boost::json::object& object, std::string_view api_version,
                        std::string_view kind);

}  // namespace weir::model
