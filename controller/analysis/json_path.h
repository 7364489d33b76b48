// JSON paths of the provider `web`, in the spelling of Kubernetes' jsonpath: {$.a.b[0]['c-d'][-1]} and [*],
// with or without the braces and the $. What else that language has (filters, ranges, slices, recursion,
// several expressions) is refused.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/status.h"

namespace weir::analysis {

class JsonPath {
 public:
  /// INVALID_ARGUMENT "column N: ...". An empty text is the whole document.
  static Result<JsonPath> Parse(std::string_view text);

  /// The first value the path leads to, as Argo takes it; NOT_FOUND names the step that leads nowhere.
  Result<boost::json::value> Find(const boost::json::value& document) const;

 private:
  struct All {};
  using Step = std::variant<std::string, int64_t, All>;
  Result<const boost::json::value*> Follow(const boost::json::value& from, size_t step) const;

  std::vector<Step> steps_;
};

}  // namespace weir::analysis
