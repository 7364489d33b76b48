// What a condition is made of, between parser and evaluator.
#pragma once

#include <re2/re2.h>

#include <boost/json/value.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace weir::analysis {

enum class NodeKind : uint8_t {
  kLiteral,
  kResult,
  kElement,      // #, or the start of .field within a predicate
  kArray,        // children
  kMap,          // children; `names` their keys
  kUnary,        // op: "-" "+" "!"
  kBinary,       // op; children[0], children[1]
  kConditional,  // children: condition, then, else
  kMember,       // children[0], `name`; `optional`: ?.
  kIndex,        // children[0][children[1]]; `optional`: ?.[
  kSlice,        // children[0][children[1] : children[2]]; either may be null
  kCall,         // `name`; the last child is a predicate where `predicate`
};

enum class Op : uint8_t {
  kNone,
  kOr,
  kAnd,
  kCoalesce,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
  kContains,
  kStartsWith,
  kEndsWith,
  kMatches,
  kRange,
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kModulo,
  kPower,
  kNegate,
  kPlus,
  kNot,
};

struct Node {
  NodeKind kind = NodeKind::kLiteral;
  Op op = Op::kNone;
  bool optional = false;
  bool predicate = false;
  size_t column = 1;
  boost::json::value literal;
  std::string name;
  std::vector<std::string> names;
  std::vector<std::unique_ptr<Node>> children;
  std::unique_ptr<RE2> pattern;  // of kMatches with a literal on its right
};

/// Which functions there are, and what they take.
struct Function {
  std::string_view name;
  int min_args, max_args;
  enum class Predicate : uint8_t { kNone, kOptional, kRequired } predicate;  // as the last argument
};
/// nullptr if there is none.
const Function* FindFunction(std::string_view name);

/// INVALID_ARGUMENT with the column.
Result<std::unique_ptr<Node>> ParseCondition(std::string_view text);

/// "a number", "a string", ...
std::string_view TypeName(const boost::json::value& value);

/// RE2 with limits that bound memory; does not log.
RE2::Options PatternOptions();

class Evaluator;

/// A call of a function without predicate.
Result<boost::json::value> CallFunction(const Node& call, std::vector<boost::json::value> arguments);

/// As expr compares: numbers by value, lists and maps member by member, anything else of two types is
/// unequal.
bool Equal(const boost::json::value& a, const boost::json::value& b);

inline bool IsNumber(const boost::json::value& value) { return value.is_int64() || value.is_double(); }
inline double ToDouble(const boost::json::value& value) {
  return value.is_int64() ? static_cast<double>(value.get_int64()) : value.get_double();
}

template <typename... Args>
Status At(const Node& node, fmt::format_string<Args...> format, Args&&... args) {
  return InvalidArgument("column {}: {}", node.column, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace weir::analysis
