// The value of a condition, by expr's rules: https://expr-lang.org/docs/language-definition. Depth and size
// of what is evaluated are bounded by the parser, the work by kMaxConditionSteps.
#include <algorithm>
#include <cmath>
#include <limits>

#include "controller/analysis/condition.h"
#include "controller/analysis/condition_ast.h"

namespace weir::analysis {

namespace json = boost::json;

/// A value that is somebody else's, or its own.
class Slot {
 public:
  Slot() = default;
  explicit Slot(const json::value* of) : other_(of) {}
  Slot(json::value own) : own_(std::move(own)) {}  // NOLINT(google-explicit-constructor): values are slots
  const json::value& operator*() const { return other_ != nullptr ? *other_ : own_; }
  const json::value* operator->() const { return &**this; }
  bool borrowed() const { return other_ != nullptr; }

 private:
  const json::value* other_ = nullptr;
  json::value own_;
};

namespace {

constexpr int64_t kMaxRange = 10'000;
constexpr int64_t kPatternMemory = int64_t{1} << 20;

std::string_view View(const json::value& value) {
  const json::string& text = value.get_string();
  return {text.data(), text.size()};
}

template <typename T>
bool Compare(Op op, const T& a, const T& b) {
  switch (op) {
    case Op::kLess:
      return a < b;
    case Op::kLessEqual:
      return a <= b;
    case Op::kGreater:
      return a > b;
    default:
      return a >= b;
  }
}

/// Integers wrap, as Go's do.
int64_t Wrapped(Op op, int64_t a, int64_t b) {
  const auto x = static_cast<uint64_t>(a), y = static_cast<uint64_t>(b);
  return static_cast<int64_t>(op == Op::kAdd ? x + y : op == Op::kSubtract ? x - y : x * y);
}

std::string_view Sign(Op op) {
  switch (op) {
    case Op::kOr:
      return "||";
    case Op::kAnd:
      return "&&";
    case Op::kEqual:
      return "==";
    case Op::kNotEqual:
      return "!=";
    case Op::kLess:
      return "<";
    case Op::kLessEqual:
      return "<=";
    case Op::kGreater:
      return ">";
    case Op::kGreaterEqual:
      return ">=";
    case Op::kIn:
      return "in";
    case Op::kContains:
      return "contains";
    case Op::kStartsWith:
      return "startsWith";
    case Op::kEndsWith:
      return "endsWith";
    case Op::kMatches:
      return "matches";
    case Op::kRange:
      return "..";
    case Op::kAdd:
    case Op::kPlus:
      return "+";
    case Op::kSubtract:
    case Op::kNegate:
      return "-";
    case Op::kMultiply:
      return "*";
    case Op::kDivide:
      return "/";
    case Op::kModulo:
      return "%";
    case Op::kPower:
      return "**";
    case Op::kNot:
      return "!";
    default:
      return "??";
  }
}

Status Mismatch(const Node& node, const json::value& a, const json::value& b) {
  return At(node, "{} does not go with {} and {}", Sign(node.op), TypeName(a), TypeName(b));
}

/// Types that Go's compiler would know: there, a comparison of two of them that differ is an error, not
/// false.
bool TypeIsKnown(const Node& node) {
  return node.kind == NodeKind::kLiteral || node.kind == NodeKind::kResult;
}
bool IsScalar(const json::value& value) { return IsNumber(value) || value.is_string() || value.is_bool(); }

}  // namespace

class Evaluator {
 public:
  explicit Evaluator(const json::value& result) : result_(&result) {}

  Result<Slot> Value(const Node& node) {
    if (++steps_ > kMaxConditionSteps)
      return At(node, "more than {} steps; a shorter list or a simpler predicate would do",
                kMaxConditionSteps);
    switch (node.kind) {
      case NodeKind::kLiteral:
        return Slot(&node.literal);
      case NodeKind::kResult:
        return Slot(result_);
      case NodeKind::kElement:
        return Slot(element_);
      case NodeKind::kArray:
      case NodeKind::kMap:
        return Collection(node);
      case NodeKind::kUnary:
        return Unary(node);
      case NodeKind::kBinary:
        return Binary(node);
      case NodeKind::kConditional: {
        ASSIGN_OR_RETURN(const bool condition, Truth(*node.children[0], "?:"));
        return Value(*node.children[condition ? 1 : 2]);
      }
      case NodeKind::kMember:
        return Member(node);
      case NodeKind::kIndex:
        return Index(node);
      case NodeKind::kSlice:
        return Slice(node);
      case NodeKind::kCall:
        break;
    }
    return node.predicate ? Predicate(node) : Call(node);
  }

 private:
  Result<bool> Truth(const Node& node, std::string_view wants) {
    ASSIGN_OR_RETURN(const Slot slot, Value(node));
    if (!slot->is_bool()) return At(node, "{} wants true or false, found {}", wants, TypeName(*slot));
    return slot->get_bool();
  }

  Result<Slot> Collection(const Node& node) {
    if (node.kind == NodeKind::kArray) {
      json::array list;
      for (const auto& child : node.children) {
        ASSIGN_OR_RETURN(const Slot slot, Value(*child));
        list.push_back(*slot);
      }
      return Slot(std::move(list));
    }
    json::object map;
    for (size_t i = 0; i < node.names.size(); ++i) {
      ASSIGN_OR_RETURN(const Slot slot, Value(*node.children[i]));
      map[node.names[i]] = *slot;
    }
    return Slot(std::move(map));
  }

  Result<Slot> Unary(const Node& node) {
    if (node.op == Op::kNot) {
      ASSIGN_OR_RETURN(const bool truth, Truth(*node.children[0], "!"));
      return Slot(!truth);
    }
    ASSIGN_OR_RETURN(const Slot slot, Value(*node.children[0]));
    if (!IsNumber(*slot)) return At(node, "{} wants a number, found {}", Sign(node.op), TypeName(*slot));
    if (node.op == Op::kPlus) return Slot(*slot);
    if (slot->is_int64()) return Slot(Wrapped(Op::kSubtract, 0, slot->get_int64()));
    return Slot(-slot->get_double());
  }

  Result<Slot> Binary(const Node& node) {
    const Node &left = *node.children[0], &right = *node.children[1];
    if (node.op == Op::kAnd || node.op == Op::kOr) {
      ASSIGN_OR_RETURN(const bool first, Truth(left, Sign(node.op)));
      if (first == (node.op == Op::kOr)) return Slot(first);
      ASSIGN_OR_RETURN(const bool second, Truth(right, Sign(node.op)));
      return Slot(second);
    }
    ASSIGN_OR_RETURN(Slot a, Value(left));
    if (node.op == Op::kCoalesce) return a->is_null() ? Value(right) : Result<Slot>(std::move(a));
    ASSIGN_OR_RETURN(const Slot b, Value(right));
    if (node.op == Op::kEqual || node.op == Op::kNotEqual) {
      const bool known = TypeIsKnown(left) && TypeIsKnown(right) && IsScalar(*a) && IsScalar(*b);
      if (known && TypeName(*a) != TypeName(*b)) return Mismatch(node, *a, *b);
      return Slot(Equal(*a, *b) == (node.op == Op::kEqual));
    }
    if (node.op == Op::kIn) return In(node, *a, *b);
    if (node.op == Op::kRange) return Range(node, *a, *b);
    if (IsNumber(*a) && IsNumber(*b)) return OfNumbers(node, *a, *b);
    if (a->is_string() && b->is_string()) return OfTexts(node, View(*a), View(*b));
    return Mismatch(node, *a, *b);
  }

  static Result<Slot> OfNumbers(const Node& node, const json::value& a, const json::value& b) {
    const bool integers = a.is_int64() && b.is_int64();
    switch (node.op) {
      case Op::kAdd:
      case Op::kSubtract:
      case Op::kMultiply:
        if (integers) return Slot(Wrapped(node.op, a.get_int64(), b.get_int64()));
        return Slot(node.op == Op::kAdd        ? ToDouble(a) + ToDouble(b)
                    : node.op == Op::kSubtract ? ToDouble(a) - ToDouble(b)
                                               : ToDouble(a) * ToDouble(b));
      case Op::kDivide:
        return Slot(ToDouble(a) / ToDouble(b));
      case Op::kPower:
        return Slot(std::pow(ToDouble(a), ToDouble(b)));
      case Op::kModulo:
        if (!integers) return At(node, "% wants integers");
        if (b.get_int64() == 0) return At(node, "division by 0");
        return Slot(b.get_int64() == -1 ? int64_t{0} : a.get_int64() % b.get_int64());
      case Op::kLess:
      case Op::kLessEqual:
      case Op::kGreater:
      case Op::kGreaterEqual:
        return Slot(integers ? Compare(node.op, a.get_int64(), b.get_int64())
                             : Compare(node.op, ToDouble(a), ToDouble(b)));
      default:
        return Mismatch(node, a, b);
    }
  }

  static Result<Slot> OfTexts(const Node& node, std::string_view a, std::string_view b) {
    switch (node.op) {
      case Op::kAdd: {
        if (a.size() + b.size() > kMaxRange * 10)
          return At(node, "a string of more than {} bytes", kMaxRange * 10);
        json::string sum(a.data(), a.size());
        sum.append({b.data(), b.size()});
        return Slot(std::move(sum));
      }
      case Op::kContains:
        return Slot(a.find(b) != std::string_view::npos);
      case Op::kStartsWith:
        return Slot(a.starts_with(b));
      case Op::kEndsWith:
        return Slot(a.ends_with(b));
      case Op::kMatches: {
        const re2::StringPiece text(a.data(), a.size());
        if (node.pattern) return Slot(RE2::PartialMatch(text, *node.pattern));
        const RE2 pattern(re2::StringPiece(b.data(), b.size()), PatternOptions());
        if (!pattern.ok()) return At(node, "{:?} is no pattern: {:?}", b.substr(0, 64), pattern.error());
        return Slot(RE2::PartialMatch(text, pattern));
      }
      case Op::kLess:
      case Op::kLessEqual:
      case Op::kGreater:
      case Op::kGreaterEqual:
        return Slot(Compare(node.op, a, b));
      default:
        return At(node, "{} does not go with strings", Sign(node.op));
    }
  }

  Result<Slot> In(const Node& node, const json::value& a, const json::value& b) {
    if (b.is_null()) return Slot(false);
    if (b.is_object()) {
      if (!a.is_string()) return At(node, "in wants a string before a map, found {}", TypeName(a));
      return Slot(b.get_object().contains(a.get_string()));
    }
    if (!b.is_array()) return At(node, "in wants a list or a map, found {}", TypeName(b));
    steps_ += b.get_array().size();
    return Slot(std::ranges::any_of(b.get_array(), [&a](const json::value& item) { return Equal(a, item); }));
  }

  static Result<Slot> Range(const Node& node, const json::value& a, const json::value& b) {
    if (!a.is_int64() || !b.is_int64()) return At(node, ".. wants integers");
    const int64_t from = a.get_int64(), to = b.get_int64();
    if (to < from) return Slot(json::array());
    if (static_cast<uint64_t>(to) - static_cast<uint64_t>(from) >= static_cast<uint64_t>(kMaxRange))
      return At(node, "a range of more than {} integers", kMaxRange);
    json::array list;
    for (int64_t i = from; i < to; ++i) list.emplace_back(i);
    list.emplace_back(to);
    return Slot(std::move(list));
  }

  /// The part of a slot: a pointer into what is borrowed, a copy out of what would be gone.
  static Slot PartOf(const Slot& whole, const json::value& part) {
    return whole.borrowed() ? Slot(&part) : Slot(json::value(part));
  }

  Result<Slot> Member(const Node& node) {
    ASSIGN_OR_RETURN(const Slot of, Value(*node.children[0]));
    return Field(node, of, node.name);
  }

  static Result<Slot> Field(const Node& node, const Slot& of, std::string_view name) {
    if (of->is_null() && node.optional) return Slot(nullptr);
    if (!of->is_object()) return At(node, "{} has no field {:?}", TypeName(*of), name.substr(0, 64));
    const json::value* const field = of->get_object().if_contains({name.data(), name.size()});
    if (field == nullptr) return Slot(nullptr);
    return PartOf(of, *field);
  }

  Result<Slot> Index(const Node& node) {
    ASSIGN_OR_RETURN(const Slot of, Value(*node.children[0]));
    if (of->is_null() && node.optional) return Slot(nullptr);
    ASSIGN_OR_RETURN(const Slot at, Value(*node.children[1]));
    if (of->is_object()) {
      if (!at->is_string()) return At(node, "a map wants a string as its index, found {}", TypeName(*at));
      return Field(node, of, View(*at));
    }
    if (!of->is_array()) return At(node, "{} has no index", TypeName(*of));
    if (!at->is_int64()) return At(node, "a list wants an integer as its index, found {}", TypeName(*at));
    const json::array& list = of->get_array();
    const auto size = static_cast<int64_t>(list.size());
    const int64_t index = at->get_int64() < 0 ? at->get_int64() + size : at->get_int64();
    if (index < 0 || index >= size)
      return At(node, "index {} out of range: the list has {} values", at->get_int64(), size);
    return PartOf(of, list[static_cast<size_t>(index)]);
  }

  Result<Slot> Slice(const Node& node) {
    ASSIGN_OR_RETURN(const Slot of, Value(*node.children[0]));
    if (!of->is_array()) return At(node, "[from:to] wants a list, found {}", TypeName(*of));
    const auto size = static_cast<int64_t>(of->get_array().size());
    int64_t edges[2] = {0, size};
    for (const size_t i : {0, 1}) {
      if (node.children[i + 1] == nullptr) continue;
      ASSIGN_OR_RETURN(const Slot edge, Value(*node.children[i + 1]));
      if (!edge->is_int64()) return At(node, "[from:to] wants integers, found {}", TypeName(*edge));
      const int64_t at = edge->get_int64() < 0 ? edge->get_int64() + size : edge->get_int64();
      edges[i] = std::clamp<int64_t>(at, 0, size);
    }
    const auto begin = of->get_array().begin();
    if (edges[0] >= edges[1]) return Slot(json::array());
    steps_ += static_cast<size_t>(edges[1] - edges[0]);
    return Slot(json::array(begin + edges[0], begin + edges[1]));
  }

  Result<Slot> Call(const Node& node) {
    std::vector<json::value> arguments;
    for (const auto& child : node.children) {
      ASSIGN_OR_RETURN(const Slot slot, Value(*child));
      if (slot->is_array()) steps_ += slot->get_array().size();
      arguments.push_back(*slot);
    }
    ASSIGN_OR_RETURN(json::value value, CallFunction(node, std::move(arguments)));
    return Slot(std::move(value));
  }

  /// all, any, none, one, count, filter, find, map, sum over a list.
  Result<Slot> Predicate(const Node& node) {
    ASSIGN_OR_RETURN(const Slot of, Value(*node.children[0]));
    if (!of->is_array()) return At(node, "{} wants a list, found {}", node.name, TypeName(*of));
    const json::value* const outer = element_;
    json::array kept;
    int64_t held = 0;
    Status status;
    const bool by_value = node.name == "map" || node.name == "sum";
    const bool keeps = by_value || node.name == "filter" || node.name == "find";
    for (const json::value& item : of->get_array()) {
      element_ = &item;
      const Result<Slot> value = Value(*node.children[1]);
      if (!value.ok()) {
        status = value.status();
        break;
      }
      if (!by_value && !(*value)->is_bool()) {
        status = At(*node.children[1], "{} wants true or false, found {}", node.name, TypeName(**value));
        break;
      }
      if (by_value) {
        kept.push_back(**value);
        continue;
      }
      const bool holds = (*value)->get_bool();
      held += holds ? 1 : 0;
      if (holds && keeps) kept.push_back(item);
      if (node.name == "all" && !holds) break;
      if (holds && (node.name == "any" || node.name == "none" || node.name == "find")) break;
    }
    element_ = outer;
    RETURN_IF_ERROR(status);
    return Outcome(node, held, std::move(kept), of->get_array().size());
  }

  static Result<Slot> Outcome(const Node& node, int64_t held, json::array kept, size_t size) {
    if (node.name == "all") return Slot(held == static_cast<int64_t>(size));
    if (node.name == "any") return Slot(held > 0);
    if (node.name == "none") return Slot(held == 0);
    if (node.name == "one") return Slot(held == 1);
    if (node.name == "count") return Slot(held);
    if (node.name == "find") return kept.empty() ? Slot(nullptr) : Slot(json::value(kept.front()));
    if (node.name != "sum") return Slot(std::move(kept));
    std::vector<json::value> numbers;
    numbers.emplace_back(std::move(kept));
    ASSIGN_OR_RETURN(json::value sum, CallFunction(node, std::move(numbers)));
    return Slot(std::move(sum));
  }

  const json::value* result_;
  const json::value* element_ = nullptr;  // of the innermost predicate
  size_t steps_ = 0;
};

std::string_view TypeName(const json::value& value) {
  if (value.is_null()) return "nil";
  if (value.is_bool()) return "a boolean";
  if (value.is_string()) return "a string";
  if (value.is_array()) return "a list";
  if (value.is_object()) return "a map";
  return "a number";
}

bool Equal(const json::value& a, const json::value& b) {
  if (IsNumber(a) && IsNumber(b)) {
    if (a.is_int64() && b.is_int64()) return a.get_int64() == b.get_int64();
    return ToDouble(a) == ToDouble(b);
  }
  if (a.is_array() && b.is_array()) return std::ranges::equal(a.get_array(), b.get_array(), Equal);
  if (a.is_object() && b.is_object()) {
    if (a.get_object().size() != b.get_object().size()) return false;
    return std::ranges::all_of(a.get_object(), [&b](const auto& member) {
      const json::value* const other = b.get_object().if_contains(member.key());
      return other != nullptr && Equal(member.value(), *other);
    });
  }
  return a.kind() == b.kind() && a == b;
}

RE2::Options PatternOptions() {
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(kPatternMemory);
  return options;
}

Result<Condition> Condition::Parse(std::string_view text) {
  ASSIGN_OR_RETURN(std::unique_ptr<Node> root, ParseCondition(text));
  return Condition(std::string(text), std::shared_ptr<const Node>(std::move(root)));
}

Result<json::value> Condition::Evaluate(const json::value& result) const {
  Evaluator evaluator(result);
  ASSIGN_OR_RETURN(const Slot slot, evaluator.Value(*root_));
  return json::value(*slot);
}

Result<bool> Condition::Holds(const json::value& result) const {
  Evaluator evaluator(result);
  ASSIGN_OR_RETURN(const Slot slot, evaluator.Value(*root_));
  if (!slot->is_bool())
    return InvalidArgument("the condition is {}, expected true or false", TypeName(*slot));
  return slot->get_bool();
}

}  // namespace weir::analysis
