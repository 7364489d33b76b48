// API messages as JSON and YAML for programs.
//
// Field names are the proto's in lowerCamelCase and never change their meaning; every field is present, also
// where it holds its default. 64-bit numbers are JSON numbers. Enums are words ("stable", "TCP"; "" for
// unspecified). A bytes field holds an IP address and is written as text.
#pragma once

#include <google/protobuf/message.h>

#include <boost/json/value.hpp>
#include <string>

namespace weir::cli {

boost::json::value ToJson(const google::protobuf::Message& message);

/// Two spaces of indentation, a line break at the end.
std::string ToPrettyJson(const boost::json::value& value);
/// The same on one line, without a line break.
std::string ToJsonLine(const boost::json::value& value);
/// YAML 1.2 block style; strings that would read as something else are quoted.
std::string ToYaml(const boost::json::value& value);

}  // namespace weir::cli
