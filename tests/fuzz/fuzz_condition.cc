// Any text as a condition, over a few values: an answer or an error with its column, the same one twice.
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string_view>

#include "controller/analysis/condition.h"

namespace weir::analysis {
namespace {

namespace json = boost::json;

void Check(bool holds, const char* rule, std::string_view text) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n%.*s\n", rule, static_cast<int>(text.size()), text.data());
  std::abort();
}

const json::array& Values() {
  static const json::array values = [] {
    json::array all = json::parse(
                          R"([null, true, 0, -1, 1.5, "", "12", "ok", [], [0.5], [1, "a", null],
                              {"a": {"b": [1, 2]}, "status": "ok"}, [{"value": 1}, {"value": "2"}],
                              9223372036854775807, -9223372036854775808])")
                          .get_array();
    all.push_back(std::numeric_limits<double>::quiet_NaN());
    all.push_back(std::numeric_limits<double>::infinity());
    return all;
  }();
  return values;
}

}  // namespace
}  // namespace weir::analysis

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using weir::analysis::Check;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto condition = weir::analysis::Condition::Parse(text);
  if (!condition.ok()) {
    const std::string message = weir::Message(condition.status());
    size_t column = 0;
    Check(std::sscanf(message.c_str(), "column %zu: ", &column) == 1, "a syntax error names its column",
          text);
    Check(column >= 1 && column <= size + 1, "the column is in the text", text);
    return 0;
  }
  for (const auto& value : weir::analysis::Values()) {
    const auto first = condition->Evaluate(value), second = condition->Evaluate(value);
    Check(first.ok() == second.ok(), "the same value gives the same answer", text);
    if (first.ok()) {
      Check(boost::json::serialize(*first) == boost::json::serialize(*second), "the same value twice", text);
      const auto holds = condition->Holds(value);
      Check(holds.ok() == first->is_bool(), "a condition is true or false, or an error", text);
    }
  }
  return 0;
}
