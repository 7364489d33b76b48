// Reads JSON with a path for each complaint. Private to this folder.
#pragma once

#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/status.h"
#include "controller/engine/engine.h"

namespace weir::engine {

namespace json = boost::json;

template <typename E>
struct Word {
  E value;
  std::string_view text;
};
/// One JSON value and where it stands. The first error of a whole text is kept; after it, readings are
/// defaults.
class Reader {
 public:
  Reader(const json::value* value, std::string path, Status& status)
      : value_(value), path_(std::move(path)), status_(status) {}

  /// A member of this object. Members that were never asked for are an error at Done().
  Reader operator[](std::string_view name) {
    asked_.emplace(name);
    const std::string path = path_.empty() ? std::string(name) : path_ + "." + std::string(name);
    const json::value* member = nullptr;
    if (const json::object* object = AsObject()) {
      member = object->if_contains({name.data(), name.size()});
      if (member == nullptr) Fail(path, "is missing");
    }
    return {member, path, status_};
  }
  bool Has(std::string_view name) const {
    return value_ != nullptr && value_->is_object() &&
           value_->get_object().contains({name.data(), name.size()});
  }
  void Done() {
    const json::object* object = AsObject();
    if (object == nullptr) return;
    for (const auto& member : *object) {
      const std::string name(member.key().data(), member.key().size());
      if (!asked_.contains(name))
        Fail(path_.empty() ? name : path_ + "." + name, "is not a field of this version");
    }
  }

  template <typename Int>
  Int Integer() const {
    if (value_ == nullptr) return 0;
    if (value_->is_uint64() && std::in_range<Int>(value_->get_uint64()))
      return static_cast<Int>(value_->get_uint64());
    if (value_->is_int64() && std::in_range<Int>(value_->get_int64()))
      return static_cast<Int>(value_->get_int64());
    Expected(fmt::format("an integer from {} to {}", std::numeric_limits<Int>::min(),
                         std::numeric_limits<Int>::max()));
    return 0;
  }
  bool Bool() const {
    if (value_ == nullptr) return false;
    if (value_->is_bool()) return value_->get_bool();
    Expected("true or false");
    return false;
  }
  std::string Text() const {
    if (value_ == nullptr) return "";
    if (value_->is_string()) return {value_->get_string().data(), value_->get_string().size()};
    Expected("a string");
    return "";
  }
  template <typename E, size_t n>
  E OneOf(const Word<E> (&words)[n]) const {
    const std::string text = Text();
    std::string expected;
    for (const Word<E>& word : words) {
      if (word.text == text) return word.value;
      expected += (expected.empty() ? "\"" : ", \"") + std::string(word.text) + "\"";
    }
    if (value_ != nullptr) Expected("one of " + expected);
    return words[0].value;
  }
  bool IsNull() const { return value_ == nullptr || value_->is_null(); }
  std::optional<TimePoint> Time() const {
    if (IsNull()) return std::nullopt;
    return TimePoint(Duration(Integer<int64_t>()));
  }
  std::vector<Reader> Array() const {
    std::vector<Reader> items;
    if (value_ == nullptr) return items;
    if (!value_->is_array()) {
      Expected("an array");
      return items;
    }
    for (const json::value& item : value_->get_array()) {
      items.emplace_back(&item, fmt::format("{}[{}]", path_, items.size()), status_);
    }
    return items;
  }
  std::vector<std::string> Texts() const {
    std::vector<std::string> texts;
    for (const Reader& item : Array()) texts.push_back(item.Text());
    return texts;
  }
  std::map<std::string, uint32_t> Counts() const {
    std::map<std::string, uint32_t> counts;
    const json::object* object = AsObject();
    if (object == nullptr) return counts;
    for (const auto& member : *object) {
      const std::string name(member.key().data(), member.key().size());
      counts[name] = Reader(&member.value(), path_ + "." + name, status_).Integer<uint32_t>();
    }
    return counts;
  }

  void Expected(std::string_view what) const {
    Fail(path_.empty() ? "the text" : path_,
         fmt::format("is {}, expected {}", json::serialize(*value_).substr(0, 80), what));
  }

 private:
  void Fail(std::string_view path, std::string_view problem) const {
    if (status_.ok()) status_ = Error(absl::StatusCode::kDataLoss, "rollout state: {} {}", path, problem);
  }
  const json::object* AsObject() const {
    if (value_ == nullptr) return nullptr;
    if (value_->is_object()) return &value_->get_object();
    Expected("an object");
    return nullptr;
  }

  const json::value* value_;  // null after an error
  std::string path_;
  Status& status_;
  std::set<std::string> asked_;
};

}  // namespace weir::engine
