#include "controller/engine/engine_json.h"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <limits>
#include <set>
#include <utility>

namespace weir::engine {
namespace {

namespace json = boost::json;

constexpr uint64_t kVersion = 2;
constexpr uint64_t kOldest = 1;  // still read: it knew no blue-green

template <typename E>
struct Word {
  E value;
  std::string_view text;
};
constexpr Word<Delivery> kDeliveries[] = {
    {Delivery::kNone, "none"}, {Delivery::kPublished, "published"}, {Delivery::kAcked, "acked"}};
constexpr Word<Hold> kHolds[] = {{Hold::kNone, "none"}, {Hold::kUser, "user"}};

template <typename E, size_t n>
json::string TextOf(E value, const Word<E> (&words)[n]) {
  for (const Word<E>& word : words) {
    if (word.value == value) return json::string(word.text.data(), word.text.size());
  }
  return {};
}

// ---- out

json::array ToValue(const std::vector<std::string>& texts) { return json::array(texts.begin(), texts.end()); }

json::value ToValue(const std::optional<TimePoint>& time) {
  if (!time) return nullptr;
  return time->time_since_epoch().count();
}

json::object ToValue(const Spec& spec) {
  json::array steps;
  for (const RolloutStep& step : spec.steps) {
    if (const auto* set = std::get_if<SetWeight>(&step)) {
      steps.push_back(json::object{{"setWeight", set->weight}});
    } else {
      const auto& duration = std::get<Pause>(step).duration;
      steps.push_back(
          json::object{{"pauseMs", duration ? json::value(duration->count()) : json::value(nullptr)}});
    }
  }
  json::value blue_green = nullptr;
  if (spec.blue_green) {
    blue_green = json::object{{"scaleDownDelayMs", spec.blue_green->scale_down_delay.count()}};
  }
  return {{"revision", spec.revision},
          {"steps", std::move(steps)},
          {"maxWeight", spec.max_weight},
          {"paused", spec.paused},
          {"blueGreen", std::move(blue_green)}};
}

json::object ToValue(const Acks& acks) {
  return {{"generation", acks.generation},
          {"desired", acks.desired},
          {"acked", acks.acked},
          {"behind", ToValue(acks.behind)},
          {"refusing", ToValue(acks.refusing)}};
}

// ---- in

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

Spec ReadSpec(Reader in, uint64_t version) {
  Spec spec;
  spec.revision = in["revision"].Text();
  for (Reader step : in["steps"].Array()) {
    if (step.Has("setWeight")) {
      spec.steps.push_back(SetWeight{step["setWeight"].Integer<uint32_t>()});
    } else {
      const Reader pause = step["pauseMs"];
      Pause read;
      if (!pause.IsNull()) read.duration = Duration(pause.Integer<int64_t>());
      spec.steps.push_back(read);
    }
    step.Done();
  }
  spec.max_weight = in["maxWeight"].Integer<uint32_t>();
  spec.paused = in["paused"].Bool();
  if (version >= 2) {
    Reader blue_green = in["blueGreen"];
    if (!blue_green.IsNull()) {
      spec.blue_green = BlueGreen{Duration(blue_green["scaleDownDelayMs"].Integer<int64_t>())};
      blue_green.Done();
    }
  }
  in.Done();
  return spec;
}

Acks ReadAcks(Reader in) {
  Acks acks;
  acks.generation = in["generation"].Integer<uint64_t>();
  acks.desired = in["desired"].Integer<uint32_t>();
  acks.acked = in["acked"].Integer<uint32_t>();
  acks.behind = in["behind"].Texts();
  acks.refusing = in["refusing"].Texts();
  in.Done();
  return acks;
}

}  // namespace

std::string ToJson(const State& state) {
  json::object ready;
  for (const auto& [revision, count] : state.ready) ready[revision] = count;
  const json::object value{
      {"version", kVersion},
      {"spec", ToValue(state.spec)},
      {"given", ToValue(state.given)},
      {"stable", state.stable},
      {"canary", state.canary},
      {"history", ToValue(state.history)},
      {"previous", state.previous},
      {"previousUntilMs", ToValue(state.previous_until)},
      {"step", state.step},
      {"finishing", state.finishing},
      {"aborted", state.aborted},
      {"hold", TextOf(state.hold, kHolds)},
      {"manualWeight", state.manual_weight ? json::value(*state.manual_weight) : json::value(nullptr)},
      {"pauseStartedMs", ToValue(state.pause_started)},
      {"pauseUntilMs", ToValue(state.pause_until)},
      {"ready", std::move(ready)},
      {"publishedWeight", state.published_weight},
      {"publishedMaxWeight", state.published_max_weight},
      {"publishedStable", state.published_stable},
      {"publishedCanary", state.published_canary},
      {"publishedPrevious", state.published_previous},
      {"generation", state.generation},
      {"delivery", TextOf(state.delivery, kDeliveries)},
      {"acks", ToValue(state.acks)},
      {"startedMs", ToValue(state.started)},
  };
  return json::serialize(value);
}

Result<State> FromJson(std::string_view text) {
  // A refusal's reason is an agent's words: bytes that are no UTF-8 come back as they were.
  json::parse_options options;
  options.allow_invalid_utf8 = true;
  json::error_code error;
  const json::value value = json::parse({text.data(), text.size()}, error, {}, options);
  if (error)
    return Error(absl::StatusCode::kDataLoss, "rollout state: not JSON ({}), expected an object",
                 error.message());

  Status status;
  Reader in(&value, "", status);
  const auto version = in["version"].Integer<uint64_t>();
  RETURN_IF_ERROR(status);
  if (version < kOldest || version > kVersion) {
    return Error(absl::StatusCode::kDataLoss,
                 "rollout state: version is {}, expected {} to {}; use the controller that wrote it", version,
                 kOldest, kVersion);
  }
  State state;
  state.spec = ReadSpec(in["spec"], version);
  state.given = ReadSpec(in["given"], version);
  state.stable = in["stable"].Text();
  state.canary = in["canary"].Text();
  state.history = in["history"].Texts();
  if (version >= 2) {
    state.previous = in["previous"].Text();
    state.previous_until = in["previousUntilMs"].Time();
    state.published_previous = in["publishedPrevious"].Text();
  }
  state.step = in["step"].Integer<uint32_t>();
  state.finishing = in["finishing"].Bool();
  state.aborted = in["aborted"].Bool();
  state.hold = in["hold"].OneOf(kHolds);
  const Reader manual_weight = in["manualWeight"];
  if (!manual_weight.IsNull()) state.manual_weight = manual_weight.Integer<uint32_t>();
  state.pause_started = in["pauseStartedMs"].Time();
  state.pause_until = in["pauseUntilMs"].Time();
  state.ready = in["ready"].Counts();
  state.published_weight = in["publishedWeight"].Integer<uint32_t>();
  state.published_max_weight = in["publishedMaxWeight"].Integer<uint32_t>();
  state.published_stable = in["publishedStable"].Text();
  state.published_canary = in["publishedCanary"].Text();
  state.generation = in["generation"].Integer<uint64_t>();
  state.delivery = in["delivery"].OneOf(kDeliveries);
  state.acks = ReadAcks(in["acks"]);
  state.started = in["startedMs"].Time();
  in.Done();
  RETURN_IF_ERROR(status);
  return state;
}

}  // namespace weir::engine
