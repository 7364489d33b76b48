// The functions of conditions that take values only. Argo's asInt, asFloat, isNaN, isInf, isNil and default
// are as in its utils/evaluate; the others as in expr's builtins.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <limits>

#include "controller/analysis/condition.h"
#include "controller/analysis/condition_ast.h"

namespace weir::analysis {
namespace {

namespace json = boost::json;
using Kind = Function::Predicate;

// In order of names.
constexpr Function kFunctions[] = {
    {"abs", 1, 1, Kind::kNone},       {"all", 2, 2, Kind::kRequired},   {"any", 2, 2, Kind::kRequired},
    {"asFloat", 1, 1, Kind::kNone},   {"asInt", 1, 1, Kind::kNone},     {"ceil", 1, 1, Kind::kNone},
    {"count", 1, 2, Kind::kOptional}, {"default", 2, 2, Kind::kNone},   {"filter", 2, 2, Kind::kRequired},
    {"find", 2, 2, Kind::kRequired},  {"first", 1, 1, Kind::kNone},     {"float", 1, 1, Kind::kNone},
    {"floor", 1, 1, Kind::kNone},     {"hasPrefix", 2, 2, Kind::kNone}, {"hasSuffix", 2, 2, Kind::kNone},
    {"int", 1, 1, Kind::kNone},       {"isInf", 1, 1, Kind::kNone},     {"isNaN", 1, 1, Kind::kNone},
    {"isNil", 1, 1, Kind::kNone},     {"last", 1, 1, Kind::kNone},      {"len", 1, 1, Kind::kNone},
    {"lower", 1, 1, Kind::kNone},     {"map", 2, 2, Kind::kRequired},   {"max", 1, 16, Kind::kNone},
    {"mean", 1, 1, Kind::kNone},      {"median", 1, 1, Kind::kNone},    {"min", 1, 16, Kind::kNone},
    {"none", 2, 2, Kind::kRequired},  {"one", 2, 2, Kind::kRequired},   {"round", 1, 1, Kind::kNone},
    {"string", 1, 1, Kind::kNone},    {"sum", 1, 2, Kind::kOptional},   {"trim", 1, 1, Kind::kNone},
    {"upper", 1, 1, Kind::kNone},
};

std::string_view View(const json::value& value) {
  const json::string& text = value.get_string();
  return {text.data(), text.size()};
}
json::value Text(std::string_view text) { return json::string(text.data(), text.size()); }

Status Wants(const Node& call, std::string_view expected, const json::value& found) {
  return At(call, "{} wants {}, found {}", call.name, expected, TypeName(found));
}

Result<double> Number(const Node& call, const json::value& value) {
  if (!IsNumber(value)) return Wants(call, "a number", value);
  return ToDouble(value);
}

/// Toward zero, as Go converts.
Result<json::value> Truncate(const Node& call, double value) {
  if (!(value > -9.2233720368547e18 && value < 9.2233720368547e18))
    return At(call, "{} of {} is no integer of 64 bits", call.name, value);
  return json::value(static_cast<int64_t>(value));
}

Result<json::value> ToInteger(const Node& call, const json::value& value) {
  if (value.is_int64()) return value;
  if (value.is_double()) return Truncate(call, value.get_double());
  if (!value.is_string()) return Wants(call, "a number or a string", value);
  std::string_view text = View(value);
  if (text.starts_with('+')) text.remove_prefix(1);
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || View(value).starts_with("+-"))
    return At(call, "{}: {:?} is no integer", call.name, View(value).substr(0, 64));
  return json::value(number);
}

Result<json::value> ToFloat(const Node& call, const json::value& value) {
  if (IsNumber(value)) return json::value(ToDouble(value));
  if (!value.is_string()) return Wants(call, "a number or a string", value);
  std::string_view text = View(value);
  if (text.starts_with('+')) text.remove_prefix(1);
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || View(value).starts_with("+-"))
    return At(call, "{}: {:?} is no number", call.name, View(value).substr(0, 64));
  return json::value(number);
}

Result<json::value> Length(const Node& call, const json::value& value) {
  if (value.is_array()) return json::value(static_cast<int64_t>(value.get_array().size()));
  if (value.is_object()) return json::value(static_cast<int64_t>(value.get_object().size()));
  if (!value.is_string()) return Wants(call, "a list, a map or a string", value);
  // Characters, not bytes.
  return json::value(static_cast<int64_t>(std::ranges::count_if(
      View(value), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80; })));
}

/// The arguments, lists among them written out; all are numbers.
Result<std::vector<json::value>> Numbers(const Node& call, const std::vector<json::value>& arguments) {
  std::vector<json::value> numbers;
  for (const json::value& argument : arguments) {
    if (argument.is_array()) {
      numbers.insert(numbers.end(), argument.get_array().begin(), argument.get_array().end());
    } else {
      numbers.push_back(argument);
    }
  }
  for (const json::value& number : numbers) {
    if (!IsNumber(number)) return Wants(call, "numbers", number);
  }
  return numbers;
}

Result<json::value> Extreme(const Node& call, const std::vector<json::value>& arguments) {
  ASSIGN_OR_RETURN(const std::vector<json::value> numbers, Numbers(call, arguments));
  if (numbers.empty()) return At(call, "{} of an empty list", call.name);
  const auto less = [](const json::value& a, const json::value& b) { return ToDouble(a) < ToDouble(b); };
  return call.name == "min" ? *std::ranges::min_element(numbers, less)
                            : *std::ranges::max_element(numbers, less);
}

Result<json::value> Aggregate(const Node& call, const std::vector<json::value>& arguments) {
  if (!arguments[0].is_array()) return Wants(call, "a list", arguments[0]);
  ASSIGN_OR_RETURN(const std::vector<json::value> numbers, Numbers(call, arguments));
  if (call.name == "sum") {
    uint64_t integers = 0;  // wraps, as Go's integers do
    double sum = 0;
    bool whole = true;
    for (const json::value& number : numbers) {
      whole = whole && number.is_int64();
      if (whole) integers += static_cast<uint64_t>(number.get_int64());
      sum += ToDouble(number);
    }
    return whole ? json::value(static_cast<int64_t>(integers)) : json::value(sum);
  }
  if (numbers.empty()) return json::value(0.0);
  std::vector<double> values;
  for (const json::value& number : numbers) values.push_back(ToDouble(number));
  if (call.name == "mean") {
    double sum = 0;
    for (const double value : values) sum += value;
    return json::value(sum / static_cast<double>(values.size()));
  }
  // A NaN has no place in an order.
  if (std::ranges::any_of(values, [](double value) { return std::isnan(value); }))
    return json::value(std::numeric_limits<double>::quiet_NaN());
  std::ranges::sort(values);
  const size_t middle = values.size() / 2;
  return json::value(values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2);
}

Result<json::value> Round(const Node& call, const json::value& value) {
  ASSIGN_OR_RETURN(const double number, Number(call, value));
  if (call.name == "ceil") return json::value(std::ceil(number));
  if (call.name == "floor") return json::value(std::floor(number));
  if (call.name == "round") return json::value(std::round(number));
  if (value.is_int64() && value.get_int64() != std::numeric_limits<int64_t>::min())
    return json::value(std::abs(value.get_int64()));
  return json::value(std::abs(number));
}

Result<json::value> OfText(const Node& call, const std::vector<json::value>& arguments) {
  for (const json::value& argument : arguments) {
    if (!argument.is_string()) return Wants(call, "a string", argument);
  }
  std::string_view text = View(arguments[0]);
  if (call.name == "hasPrefix") return json::value(text.starts_with(View(arguments[1])));
  if (call.name == "hasSuffix") return json::value(text.ends_with(View(arguments[1])));
  if (call.name == "trim") {
    constexpr std::string_view kSpace = " \t\r\n\v\f";
    text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
    return Text(text.substr(0, text.find_last_not_of(kSpace) + 1));
  }
  std::string changed(text);
  const bool upper = call.name == "upper";
  for (char& c : changed) {
    if (upper && c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    if (!upper && c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return Text(changed);
}

Result<json::value> ToText(const Node& call, const json::value& value) {
  if (value.is_string()) return value;
  if (value.is_bool()) return Text(value.get_bool() ? "true" : "false");
  if (value.is_int64()) return Text(std::to_string(value.get_int64()));
  if (value.is_double()) return Text(fmt::format("{}", value.get_double()));
  return Wants(call, "a number, a string or a boolean", value);
}

Result<json::value> End(const Node& call, const json::value& value) {
  if (!value.is_array()) return Wants(call, "a list", value);
  const json::array& list = value.get_array();
  if (list.empty()) return json::value(nullptr);
  return call.name == "first" ? list.front() : list.back();
}

using Handler = Result<json::value> (*)(const Node&, const std::vector<json::value>&);
struct Named {
  std::string_view name;
  Handler handler;
};
template <Result<json::value> (*function)(const Node&, const json::value&)>
Result<json::value> One(const Node& call, const std::vector<json::value>& arguments) {
  return function(call, arguments[0]);
}

constexpr Named kHandlers[] = {
    {"abs", One<Round>},
    {"ceil", One<Round>},
    {"floor", One<Round>},
    {"round", One<Round>},
    {"asInt", One<ToInteger>},
    {"int", One<ToInteger>},
    {"asFloat", One<ToFloat>},
    {"float", One<ToFloat>},
    {"string", One<ToText>},
    {"len", One<Length>},
    {"first", One<End>},
    {"last", One<End>},
    {"min", Extreme},
    {"max", Extreme},
    {"sum", Aggregate},
    {"mean", Aggregate},
    {"median", Aggregate},
    {"hasPrefix", OfText},
    {"hasSuffix", OfText},
    {"lower", OfText},
    {"upper", OfText},
    {"trim", OfText},
    {"isNil",
     [](const Node&, const std::vector<json::value>& a) -> Result<json::value> {
       return json::value(a[0].is_null());
     }},
    {"default",
     [](const Node&, const std::vector<json::value>& a) -> Result<json::value> {
       return a[0].is_null() ? a[1] : a[0];
     }},
    {"isNaN",
     [](const Node& call, const std::vector<json::value>& a) -> Result<json::value> {
       ASSIGN_OR_RETURN(const double number, Number(call, a[0]));
       return json::value(std::isnan(number));
     }},
    {"isInf",
     [](const Node& call, const std::vector<json::value>& a) -> Result<json::value> {
       ASSIGN_OR_RETURN(const double number, Number(call, a[0]));
       return json::value(std::isinf(number));
     }},
    {"count",
     [](const Node& call, const std::vector<json::value>& a) -> Result<json::value> {
       if (!a[0].is_array()) return Wants(call, "a list", a[0]);
       int64_t count = 0;
       for (const json::value& item : a[0].get_array()) {
         if (!item.is_bool()) return Wants(call, "booleans", item);
         count += item.get_bool() ? 1 : 0;
       }
       return json::value(count);
     }},
};

}  // namespace

const Function* FindFunction(std::string_view name) {
  const auto found = std::ranges::find(kFunctions, name, &Function::name);
  return found == std::end(kFunctions) ? nullptr : found;
}

std::span<const std::string_view> Functions() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> all;
    for (const Function& function : kFunctions) all.push_back(function.name);
    return all;
  }();
  return names;
}

Result<json::value> CallFunction(const Node& call, std::vector<json::value> arguments) {
  const auto found = std::ranges::find(kHandlers, call.name, &Named::name);
  // all, any, ... have predicates and do not come here.
  if (found == std::end(kHandlers)) return At(call, "{} wants a predicate", call.name);
  return found->handler(call, arguments);
}

}  // namespace weir::analysis
