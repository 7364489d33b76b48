#include "controller/engine/engine_json.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

namespace weir::engine {
namespace {

class RandomState {
 public:
  explicit RandomState(uint32_t seed) : random_(seed) {}

  State Make() {
    State state;
    state.spec = MakeSpec();
    state.given = MakeSpec();
    state.stable = Text();
    state.canary = Text();
    state.history = Texts();
    state.previous = Text();
    if (Coin()) state.previous_until = Time();
    state.step = Number<uint32_t>();
    state.finishing = Coin();
    state.aborted = Coin();
    state.full = Coin();
    state.reason = Text();
    state.attempt = Number<uint32_t>();
    state.background_runs = Number<uint32_t>();
    state.foreground = MakeRun();
    state.background = MakeRun();
    state.hold = static_cast<Hold>(random_() % 4);
    if (Coin()) state.manual_weight = Number<uint32_t>();
    if (Coin()) state.pause_started = Time();
    if (Coin()) state.pause_until = Time();
    for (const std::string& revision : Texts()) state.ready[revision] = Number<uint32_t>();
    state.published_weight = Number<uint32_t>();
    state.published_max_weight = Number<uint32_t>();
    state.published_stable = Text();
    state.published_canary = Text();
    state.published_previous = Text();
    state.fail_safe_round = Number<uint32_t>();
    state.published_round = Number<uint32_t>();
    state.generation = Number<uint64_t>();
    state.delivery = static_cast<Delivery>(random_() % 3);
    state.acks = {.generation = Number<uint64_t>(),
                  .desired = Number<uint32_t>(),
                  .acked = Number<uint32_t>(),
                  .behind = Texts(),
                  .refusing = Texts()};
    if (Coin()) state.started = Time();
    if (Coin()) state.ending = MakeEnding();
    state.endings = Number<uint32_t>();
    return state;
  }

 private:
  bool Coin() { return random_() % 2; }
  template <typename Int>
  Int Number() {
    switch (random_() % 4) {
      case 0:
        return std::numeric_limits<Int>::max();
      case 1:
        return std::numeric_limits<Int>::min();
      default:
        return static_cast<Int>(random_());
    }
  }
  Ending MakeEnding() {
    Ending ending{.number = Number<uint32_t>(), .revision = Text(), .completed = Coin()};
    if (Coin()) ending.drain = Duration(Number<int64_t>());
    if (Coin()) ending.due = Time();
    ending.ordered = Coin();
    ending.generation = Number<uint64_t>();
    for (const std::string& node : Texts())
      ending.nodes[node] = {Number<uint64_t>(), Number<uint64_t>(), Text()};
    return ending;
  }
  OpenConnections MakeOpenConnections() {
    return {static_cast<OpenConnections::Way>(random_() % 3), Duration(Number<int64_t>())};
  }
  TimePoint Time() { return TimePoint(Duration(Number<int64_t>())); }
  /// Any bytes: quotes, controls, zeros, what is no UTF-8.
  std::string Text() {
    std::string text;
    for (size_t n = random_() % 12; n > 0; --n) {
      text += random_() % 2 ? static_cast<char>(random_()) : "a\"\\/{}\n"[random_() % 7];
    }
    return text;
  }
  std::vector<std::string> Texts() {
    std::vector<std::string> texts;
    for (size_t n = random_() % 4; n > 0; --n) texts.push_back(Text());
    return texts;
  }
  Analysis MakeAnalysis() {
    Analysis analysis{.templates = Texts(), .dry_run = Texts(), .until_confident = Coin()};
    for (const std::string& name : Texts())
      analysis.args.push_back({name, Text(), static_cast<AnalysisArg::From>(random_() % 3)});
    for (const std::string& name : Texts()) analysis.retention.push_back({name, Number<uint32_t>()});
    if (Coin()) analysis.limit = Duration(Number<int64_t>());
    return analysis;
  }
  std::optional<AnalysisRun> MakeRun() {
    if (Coin()) return std::nullopt;
    AnalysisRun run{.id = Text(),
                    .where = static_cast<AnalysisWhere>(random_() % 4),
                    .step = Number<uint32_t>(),
                    .analysis = MakeAnalysis()};
    if (Coin()) run.outcome = static_cast<Outcome>(random_() % 4);
    return run;
  }
  Spec MakeSpec() {
    Spec spec{.revision = Text(), .max_weight = Number<uint32_t>(), .paused = Coin()};
    if (Coin()) {
      spec.blue_green = BlueGreen{.scale_down_delay = Duration(Number<int64_t>())};
      if (Coin()) spec.blue_green->post_promotion = MakeAnalysis();
    }
    if (Coin()) spec.background = {MakeAnalysis(), Number<uint32_t>()};
    spec.on_abort = MakeOpenConnections();
    spec.on_complete = MakeOpenConnections();
    for (size_t n = random_() % 5; n > 0; --n) {
      if (Coin() && Coin()) {
        spec.steps.push_back(MakeAnalysis());
      } else if (Coin()) {
        spec.steps.push_back(SetWeight{Number<uint32_t>()});
      } else {
        spec.steps.push_back(Coin() ? Pause{} : Pause{Duration(Number<int64_t>())});
      }
    }
    return spec;
  }

  std::mt19937_64 random_;
};

TEST(EngineJsonTest, EveryStateComesBackAsItWas) {
  for (uint32_t seed = 1; seed <= 5000; ++seed) {
    const State state = RandomState(seed).Make();
    const std::string text = ToJson(state);
    const Result<State> read = FromJson(text);
    ASSERT_TRUE(read.ok()) << "seed " << seed << ": " << read.status() << "\n" << text;
    ASSERT_TRUE(*read == state) << "seed " << seed << ": " << text;
    ASSERT_EQ(ToJson(*read), text);
  }
}

TEST(EngineJsonTest, TheTextOfAStateStaysReadable) {
  State state;
  state.spec = {.revision = "v2", .steps = {SetWeight{20}, Pause{}, Pause{Duration(10'000)}}};
  const std::string text = ToJson(state);
  EXPECT_EQ(text.rfind(R"({"version":6,"spec":{"revision":"v2",)", 0), 0u) << text;
  EXPECT_NE(text.find(R"("steps":[{"setWeight":20},{"pauseMs":null},{"pauseMs":10000}])"), std::string::npos)
      << text;
}

TEST(EngineJsonTest, ErrorsNameTheField) {
  struct Case {
    const char *from, *to, *message;
  };
  const Case cases[] = {
      {R"("version":6)", R"("version":7)", "version is 7, expected 1 to 6"},
      {R"("version":6)", R"("version":0)", "version is 0, expected 1 to 6"},
      {R"("version":6,)", "", "version is missing"},
      {R"("version":6)", R"("version":"1")", R"(version is "1", expected an integer)"},
      {R"("stable":"v1")", R"("stable":7)", "stable is 7, expected a string"},
      {R"("stable":"v1",)", "", "stable is missing"},
      {R"("stable":"v1")", R"("stable":"v1","colour":"blue")", "colour is not a field of this version"},
      {R"("step":1)", R"("step":-1)", "step is -1, expected an integer from 0 to 4294967295"},
      {R"("step":1)", R"("step":4294967296)", "step is 4294967296, expected an integer"},
      {R"("step":1)", R"("step":1.5)", "step is 1.5E0, expected an integer"},
      {R"("aborted":false)", R"("aborted":0)", "aborted is 0, expected true or false"},
      {R"("hold":"user")", R"("hold":"me")",
       R"(hold is "me", expected one of "none", "user", "inconclusive", "failSafe")"},
      {R"("delivery":"acked")", R"("delivery":null)", "delivery is null, expected a string"},
      {R"("history":["v0"])", R"("history":["v0",1])", "history[1] is 1, expected a string"},
      {R"("history":["v0"])", R"("history":{})", "history is {}, expected an array"},
      {R"({"setWeight":20})", R"({"setWeight":"20"})",
       R"(spec.steps[0].setWeight is "20", expected an integer)"},
      {R"({"setWeight":20})", R"({"jump":20})", "spec.steps[0].pauseMs is missing"},
      {R"({"setWeight":20})", R"({"setWeight":20,"pauseMs":1})", "spec.steps[0].pauseMs is not a field"},
      {R"("ready":{"v1":2})", R"("ready":{"v1":"two"})", R"(ready.v1 is "two", expected an integer)"},
      {R"("ready":{"v1":2})", R"("ready":[])", "ready is [], expected an object"},
      {R"("pauseUntilMs":null)", R"("pauseUntilMs":"noon")",
       R"(pauseUntilMs is "noon", expected an integer)"},
      {R"("blueGreen":null)", R"("blueGreen":{"delayMs":1})", "blueGreen.scaleDownDelayMs is missing"},
      {R"("previous":"",)", "", "previous is missing"},
      {R"("foreground":null)", R"("foreground":{"id":"x"})", "foreground.where is missing"},
      {R"("reason":"",)", "", "reason is missing"},
      {R"("acks":{)", R"("acks":{"late":1,)", "acks.late is not a field"},
      {R"("desired":2,)", "", "acks.desired is missing"},
      {"}", "", "not JSON"},
  };
  State state{.stable = "v1", .history = {"v0"}, .step = 1, .hold = Hold::kUser};
  state.spec = {.revision = "v2", .steps = {SetWeight{20}}};
  state.ready = {{"v1", 2}};
  state.delivery = Delivery::kAcked;
  state.acks.desired = 2;
  const std::string good = ToJson(state);
  for (const Case& c : cases) {
    std::string bad = good;
    const size_t at = bad.rfind(c.from);
    ASSERT_NE(at, std::string::npos) << c.from << " in " << good;
    bad.replace(at, std::string(c.from).size(), c.to);
    const Result<State> read = FromJson(bad);
    ASSERT_FALSE(read.ok()) << c.to;
    EXPECT_EQ(read.status().code(), absl::StatusCode::kDataLoss);
    EXPECT_NE(Message(read.status()).find(c.message), std::string::npos) << Message(read.status());
  }
  for (const char* text : {"", "null", "[]", "7", "{", "{} {}"}) EXPECT_FALSE(FromJson(text).ok()) << text;
}

TEST(EngineJsonTest, AStateWrittenBeforeBlueGreenIsRead) {
  const char* old =
      R"({"version":1,"spec":{"revision":"v2","steps":[{"setWeight":20}],"maxWeight":100,"paused":false},)"
      R"("given":{"revision":"v2","steps":[],"maxWeight":100,"paused":false},"stable":"v1","canary":"v2",)"
      R"("history":["v0"],"step":1,"finishing":false,"aborted":false,"hold":"none","manualWeight":null,)"
      R"("pauseStartedMs":null,"pauseUntilMs":null,"ready":{"v1":2},"publishedWeight":20,)"
      R"("publishedMaxWeight":100,"publishedStable":"v1","publishedCanary":"v2","generation":7,)"
      R"("delivery":"acked","acks":{"generation":7,"desired":2,"acked":2,"behind":[],"refusing":[]},)"
      R"("startedMs":5})";
  const Result<State> read = FromJson(old);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->canary, "v2");
  EXPECT_EQ(read->generation, 7u);
  EXPECT_FALSE(read->spec.blue_green);
  EXPECT_EQ(read->previous, "");
  EXPECT_TRUE(*FromJson(ToJson(*read)) == *read);
}

}  // namespace
}  // namespace weir::engine
