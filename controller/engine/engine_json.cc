#include "controller/engine/engine_json.h"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <utility>

#include "controller/engine/json_reader.h"

namespace weir::engine {
namespace {

constexpr uint64_t kVersion = 6;
constexpr uint64_t kOldest = 1;  // still read: 1 knew no blue-green, 2 no analysis, 3 no ending of
                                 // connections, 4 no nodes that take a canary out, 5 no pods made for it

constexpr Word<Delivery> kDeliveries[] = {
    {Delivery::kNone, "none"}, {Delivery::kPublished, "published"}, {Delivery::kAcked, "acked"}};
constexpr Word<Hold> kHolds[] = {{Hold::kNone, "none"},
                                 {Hold::kUser, "user"},
                                 {Hold::kInconclusive, "inconclusive"},
                                 {Hold::kFailSafe, "failSafe"}};
constexpr Word<AnalysisWhere> kWheres[] = {{AnalysisWhere::kStep, "step"},
                                           {AnalysisWhere::kBackground, "background"},
                                           {AnalysisWhere::kPrePromotion, "prePromotion"},
                                           {AnalysisWhere::kPostPromotion, "postPromotion"}};
constexpr Word<Outcome> kOutcomes[] = {{Outcome::kSuccessful, "Successful"},
                                       {Outcome::kFailed, "Failed"},
                                       {Outcome::kError, "Error"},
                                       {Outcome::kInconclusive, "Inconclusive"}};
constexpr Word<AnalysisArg::From> kFroms[] = {{AnalysisArg::From::kValue, "value"},
                                              {AnalysisArg::From::kStable, "stable"},
                                              {AnalysisArg::From::kLatest, "latest"}};

constexpr Word<OpenConnections::Way> kWays[] = {{OpenConnections::Way::kKeep, "keep"},
                                                {OpenConnections::Way::kDrain, "drain"},
                                                {OpenConnections::Way::kReset, "reset"}};

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

json::object ToValue(const Analysis& analysis) {
  json::array args, retention;
  for (const AnalysisArg& arg : analysis.args) {
    args.push_back(
        json::object{{"name", arg.name}, {"value", arg.value}, {"from", TextOf(arg.from, kFroms)}});
  }
  for (const AnalysisRetention& kept : analysis.retention) {
    retention.push_back(json::object{{"metric", kept.metric}, {"limit", kept.limit}});
  }
  return {{"templates", ToValue(analysis.templates)},
          {"args", std::move(args)},
          {"dryRun", ToValue(analysis.dry_run)},
          {"retention", std::move(retention)},
          {"untilConfident", analysis.until_confident},
          {"limitMs", analysis.limit ? json::value(analysis.limit->count()) : json::value(nullptr)}};
}

json::value ToValue(const std::optional<AnalysisRun>& run) {
  if (!run) return nullptr;
  json::value outcome = nullptr;
  if (run->outcome) outcome = TextOf(*run->outcome, kOutcomes);
  return json::object{{"id", run->id},
                      {"where", TextOf(run->where, kWheres)},
                      {"step", run->step},
                      {"analysis", ToValue(run->analysis)},
                      {"outcome", std::move(outcome)}};
}

json::object ToValue(const RolloutStep& step) {
  if (const auto* set = std::get_if<SetWeight>(&step)) return {{"setWeight", set->weight}};
  if (const auto* analysis = std::get_if<Analysis>(&step)) return {{"analysis", ToValue(*analysis)}};
  if (const auto* scale = std::get_if<SetCanaryScale>(&step)) {
    return {{"canaryReplicas", scale->replicas ? json::value(*scale->replicas) : json::value(nullptr)},
            {"canaryPercent", scale->percent ? json::value(*scale->percent) : json::value(nullptr)}};
  }
  const auto& duration = std::get<Pause>(step).duration;
  return {{"pauseMs", duration ? json::value(duration->count()) : json::value(nullptr)}};
}

json::object ToValue(const OpenConnections& open) {
  return {{"way", TextOf(open.way, kWays)}, {"deadlineMs", open.deadline.count()}};
}

json::value ToValue(const std::optional<Ending>& ending) {
  if (!ending) return nullptr;
  json::array nodes;
  for (const auto& [name, ended] : ending->nodes) {
    nodes.push_back(json::object{{"node", name},
                                 {"connections", ended.connections},
                                 {"left", ended.left},
                                 {"trouble", ended.trouble}});
  }
  return json::object{{"number", ending->number},
                      {"revision", ending->revision},
                      {"completed", ending->completed},
                      {"drainMs", ending->drain ? json::value(ending->drain->count()) : json::value(nullptr)},
                      {"dueMs", ToValue(ending->due)},
                      {"ordered", ending->ordered},
                      {"generation", ending->generation},
                      {"nodes", std::move(nodes)}};
}

json::object ToValue(const Spec& spec) {
  json::array steps;
  for (const RolloutStep& step : spec.steps) steps.push_back(ToValue(step));
  json::value blue_green = nullptr;
  if (spec.blue_green) {
    const auto& post = spec.blue_green->post_promotion;
    blue_green = json::object{{"scaleDownDelayMs", spec.blue_green->scale_down_delay.count()},
                              {"postPromotion", post ? json::value(ToValue(*post)) : json::value(nullptr)}};
  }
  json::value background = nullptr;
  if (spec.background) {
    background = json::object{{"analysis", ToValue(spec.background->analysis)},
                              {"startingStep", spec.background->starting_step}};
  }
  return {{"revision", spec.revision},
          {"steps", std::move(steps)},
          {"maxWeight", spec.max_weight},
          {"paused", spec.paused},
          {"blueGreen", std::move(blue_green)},
          {"background", std::move(background)},
          {"onAbort", ToValue(spec.on_abort)},
          {"onComplete", ToValue(spec.on_complete)},
          {"scaled", spec.scaled}};
}

json::object ToValue(const Acks& acks) {
  return {{"generation", acks.generation},
          {"desired", acks.desired},
          {"acked", acks.acked},
          {"behind", ToValue(acks.behind)},
          {"refusing", ToValue(acks.refusing)}};
}

// ---- in

Analysis ReadAnalysis(Reader in) {
  Analysis analysis;
  analysis.templates = in["templates"].Texts();
  for (Reader arg : in["args"].Array()) {
    analysis.args.push_back({arg["name"].Text(), arg["value"].Text(), arg["from"].OneOf(kFroms)});
    arg.Done();
  }
  analysis.dry_run = in["dryRun"].Texts();
  for (Reader kept : in["retention"].Array()) {
    analysis.retention.push_back({kept["metric"].Text(), kept["limit"].Integer<uint32_t>()});
    kept.Done();
  }
  analysis.until_confident = in["untilConfident"].Bool();
  const Reader limit = in["limitMs"];
  if (!limit.IsNull()) analysis.limit = Duration(limit.Integer<int64_t>());
  in.Done();
  return analysis;
}

std::optional<AnalysisRun> ReadRun(Reader in) {
  if (in.IsNull()) return std::nullopt;
  AnalysisRun run;
  run.id = in["id"].Text();
  run.where = in["where"].OneOf(kWheres);
  run.step = in["step"].Integer<uint32_t>();
  run.analysis = ReadAnalysis(in["analysis"]);
  const Reader outcome = in["outcome"];
  if (!outcome.IsNull()) run.outcome = outcome.OneOf(kOutcomes);
  in.Done();
  return run;
}

BlueGreen ReadBlueGreen(Reader in, uint64_t version) {
  BlueGreen blue_green{.scale_down_delay = Duration(in["scaleDownDelayMs"].Integer<int64_t>())};
  if (version >= 3) {
    const Reader post = in["postPromotion"];
    if (!post.IsNull()) blue_green.post_promotion = ReadAnalysis(post);
  }
  in.Done();
  return blue_green;
}

RolloutStep ReadStep(Reader in) {
  RolloutStep step;
  if (in.Has("setWeight")) {
    step = SetWeight{in["setWeight"].Integer<uint32_t>()};
  } else if (in.Has("analysis")) {
    step = ReadAnalysis(in["analysis"]);
  } else if (in.Has("canaryReplicas")) {
    SetCanaryScale scale;
    const Reader replicas = in["canaryReplicas"], percent = in["canaryPercent"];
    if (!replicas.IsNull()) scale.replicas = replicas.Integer<uint32_t>();
    if (!percent.IsNull()) scale.percent = percent.Integer<uint32_t>();
    step = scale;
  } else {
    const Reader pause = in["pauseMs"];
    step = Pause{};
    if (!pause.IsNull()) step = Pause{Duration(pause.Integer<int64_t>())};
  }
  in.Done();
  return step;
}

OpenConnections ReadOpenConnections(Reader in) {
  OpenConnections open{.way = in["way"].OneOf(kWays),
                       .deadline = Duration(in["deadlineMs"].Integer<int64_t>())};
  in.Done();
  return open;
}

std::optional<Ending> ReadEnding(Reader in) {
  if (in.IsNull()) return std::nullopt;
  Ending ending;
  ending.number = in["number"].Integer<uint32_t>();
  ending.revision = in["revision"].Text();
  ending.completed = in["completed"].Bool();
  const Reader drain = in["drainMs"];
  if (!drain.IsNull()) ending.drain = Duration(drain.Integer<int64_t>());
  ending.due = in["dueMs"].Time();
  ending.ordered = in["ordered"].Bool();
  ending.generation = in["generation"].Integer<uint64_t>();
  for (Reader node : in["nodes"].Array()) {
    NodeEnded& ended = ending.nodes[node["node"].Text()];
    ended.connections = node["connections"].Integer<uint64_t>();
    ended.left = node["left"].Integer<uint64_t>();
    ended.trouble = node["trouble"].Text();
    node.Done();
  }
  in.Done();
  return ending;
}

Spec ReadSpec(Reader in, uint64_t version) {
  Spec spec;
  spec.revision = in["revision"].Text();
  for (const Reader& step : in["steps"].Array()) spec.steps.push_back(ReadStep(step));
  spec.max_weight = in["maxWeight"].Integer<uint32_t>();
  spec.paused = in["paused"].Bool();
  if (version >= 2) {
    const Reader blue_green = in["blueGreen"];
    if (!blue_green.IsNull()) spec.blue_green = ReadBlueGreen(blue_green, version);
  }
  if (version >= 3) {
    Reader background = in["background"];
    if (!background.IsNull()) {
      spec.background = {ReadAnalysis(background["analysis"]),
                         background["startingStep"].Integer<uint32_t>()};
      background.Done();
    }
  }
  if (in.Has("onAbort")) {
    spec.on_abort = ReadOpenConnections(in["onAbort"]);
    spec.on_complete = ReadOpenConnections(in["onComplete"]);
  }
  if (version >= 6) spec.scaled = in["scaled"].Bool();
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
      {"full", state.full},
      {"reason", state.reason},
      {"attempt", state.attempt},
      {"backgroundRuns", state.background_runs},
      {"foreground", ToValue(state.foreground)},
      {"background", ToValue(state.background)},
      {"hold", TextOf(state.hold, kHolds)},
      {"manualWeight", state.manual_weight ? json::value(*state.manual_weight) : json::value(nullptr)},
      {"pauseStartedMs", ToValue(state.pause_started)},
      {"pauseUntilMs", ToValue(state.pause_until)},
      {"ready", std::move(ready)},
      {"replicas", state.replicas ? json::value(*state.replicas) : json::value(nullptr)},
      {"publishedWeight", state.published_weight},
      {"publishedMaxWeight", state.published_max_weight},
      {"publishedStable", state.published_stable},
      {"publishedCanary", state.published_canary},
      {"publishedPrevious", state.published_previous},
      {"failSafeRound", state.fail_safe_round},
      {"publishedRound", state.published_round},
      {"generation", state.generation},
      {"delivery", TextOf(state.delivery, kDeliveries)},
      {"acks", ToValue(state.acks)},
      {"startedMs", ToValue(state.started)},
      {"ending", ToValue(state.ending)},
      {"endings", state.endings},
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
  if (version >= 3) {
    state.full = in["full"].Bool();
    state.reason = in["reason"].Text();
    state.attempt = in["attempt"].Integer<uint32_t>();
    state.background_runs = in["backgroundRuns"].Integer<uint32_t>();
    state.foreground = ReadRun(in["foreground"]);
    state.background = ReadRun(in["background"]);
  }
  if (version >= 5) {
    state.fail_safe_round = in["failSafeRound"].Integer<uint32_t>();
    state.published_round = in["publishedRound"].Integer<uint32_t>();
  }
  state.hold = in["hold"].OneOf(kHolds);
  const Reader manual_weight = in["manualWeight"];
  if (!manual_weight.IsNull()) state.manual_weight = manual_weight.Integer<uint32_t>();
  state.pause_started = in["pauseStartedMs"].Time();
  state.pause_until = in["pauseUntilMs"].Time();
  state.ready = in["ready"].Counts();
  if (version >= 6) {
    const Reader replicas = in["replicas"];
    if (!replicas.IsNull()) state.replicas = replicas.Integer<uint32_t>();
  }
  state.published_weight = in["publishedWeight"].Integer<uint32_t>();
  state.published_max_weight = in["publishedMaxWeight"].Integer<uint32_t>();
  state.published_stable = in["publishedStable"].Text();
  state.published_canary = in["publishedCanary"].Text();
  state.generation = in["generation"].Integer<uint64_t>();
  state.delivery = in["delivery"].OneOf(kDeliveries);
  state.acks = ReadAcks(in["acks"]);
  state.started = in["startedMs"].Time();
  if (in.Has("ending")) {
    state.ending = ReadEnding(in["ending"]);
    state.endings = in["endings"].Integer<uint32_t>();
  }
  in.Done();
  RETURN_IF_ERROR(status);
  return state;
}

}  // namespace weir::engine
