// Conditions of an AnalysisTemplate: the expression language Argo Rollouts uses (expr-lang), with Argo's
// environment: `result`, asInt, asFloat, isNaN, isInf, isNil, default. Pure; thread-safe once parsed.
//
// Carried out: literals, arrays, maps, `result`, members and indexes (negative ones from the end), slices, ?.
// and ??, arithmetic by expr's rules (/ and ** give floats, % wants integers), comparisons, in / not in, &&
// || ! and or not, ?:, contains startsWith endsWith matches (RE2, as in Go), a..b, predicates ({# > 0.9},
// {.field}, # > 0.9) and the functions of Functions(). What expr has beyond that is refused by name.
#pragma once

#include <boost/json/value.hpp>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "common/status.h"

namespace weir::analysis {

struct Node;

inline constexpr size_t kMaxConditionBytes = 4096;
inline constexpr size_t kMaxConditionDepth = 64;
/// Steps of one evaluation: what predicates cost over long lists.
inline constexpr size_t kMaxConditionSteps = 1'000'000;

/// A condition that has been parsed. Cheap to copy.
class Condition {
 public:
  /// INVALID_ARGUMENT "column N: ..." (from 1, in bytes) for what is no expression, is over a limit or is not
  /// carried out.
  static Result<Condition> Parse(std::string_view text);

  /// Whether it holds for `result`. INVALID_ARGUMENT says why there is no answer: types that do not go
  /// together, an index out of range, a value that is neither true nor false. Never throws.
  Result<bool> Holds(const boost::json::value& result) const;

  /// The value itself, for tests and for what is shown.
  Result<boost::json::value> Evaluate(const boost::json::value& result) const;

  const std::string& text() const { return text_; }

 private:
  Condition(std::string text, std::shared_ptr<const Node> root)
      : text_(std::move(text)), root_(std::move(root)) {}

  std::string text_;
  std::shared_ptr<const Node> root_;
};

/// The functions there are, in order.
std::span<const std::string_view> Functions();

}  // namespace weir::analysis
