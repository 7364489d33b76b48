#include "tests/unit/controller/engine/scenario.h"

#include <fmt/format.h>

#include <charconv>
#include <map>
#include <optional>
#include <sstream>

#include "controller/engine/engine.h"
#include "controller/engine/engine_json.h"

namespace weir::engine {
namespace {

struct Word {
  std::string key, value;
  char relation = 0;  // '=', '~' or 0: a bare word
};

/// Words of a line; a value may stand in double quotes.
std::vector<Word> Words(std::string_view line) {
  std::vector<Word> words;
  size_t i = 0;
  while (i < line.size()) {
    if (line[i] == ' ') {
      ++i;
      continue;
    }
    if (line[i] == '#') break;
    Word word;
    while (i < line.size() && line[i] != ' ' && line[i] != '=' && line[i] != '~') word.key += line[i++];
    if (i < line.size() && line[i] != ' ') {
      word.relation = line[i++];
      const bool quoted = i < line.size() && line[i] == '"';
      if (quoted) ++i;
      while (i < line.size() && line[i] != (quoted ? '"' : ' ')) word.value += line[i++];
      if (quoted) ++i;
    }
    words.push_back(std::move(word));
  }
  return words;
}

std::vector<std::string> List(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) parts.push_back(part);
  return parts;
}

template <typename Int>
std::optional<Int> Number(std::string_view text) {
  Int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// "250ms", "10s", "5m", "1h".
std::optional<Duration> ParseDuration(std::string_view text) {
  const std::pair<std::string_view, int64_t> units[] = {
      {"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}};
  for (const auto& [unit, ms] : units) {
    if (!text.ends_with(unit)) continue;
    const auto count = Number<int64_t>(text.substr(0, text.size() - unit.size()));
    if (count) return Duration(*count * ms);
  }
  return std::nullopt;
}

std::string Text(const Publish& publish) {
  std::string text = fmt::format("{}:{}", publish.stable, publish.stable_weight);
  if (!publish.canary.empty()) text += fmt::format(",{}:{}", publish.canary, publish.canary_weight);
  if (!publish.previous.empty()) text += fmt::format(",{} kept", publish.previous);
  return text;
}

std::string Text(Duration duration) {
  return duration.count() % 1000 == 0 ? fmt::format("{}s", duration.count() / 1000)
                                      : fmt::format("{}ms", duration.count());
}

std::string Join(const std::vector<std::string>& parts, std::string_view separator) {
  return fmt::format("{}", fmt::join(parts, separator));
}

/// "Failed"
std::optional<Outcome> ParseOutcome(std::string_view text) {
  for (const Outcome outcome :
       {Outcome::kSuccessful, Outcome::kFailed, Outcome::kError, Outcome::kInconclusive}) {
    if (text == OutcomeName(outcome)) return outcome;
  }
  return std::nullopt;
}

class Player {
 public:
  Player(std::string_view name) : name_(name) {}

  void Play(std::string_view text) {
    std::istringstream in{std::string(text)};
    for (std::string line; std::getline(in, line);) {
      ++line_;
      const std::vector<Word> words = Words(line);
      if (!words.empty()) Do(words);
    }
    if (!asserted_) Fail("the scenario ends without an expect line");
  }
  std::vector<std::string> failures() && { return std::move(failures_); }

 private:
  void Fail(std::string_view what) { failures_.push_back(fmt::format("{}:{}: {}", name_, line_, what)); }
  void Unknown(const Word& word) {
    Fail(fmt::format("\"{}\" is not understood here; see scenario.h", word.key));
  }

  void Feed(const Event& event) {
    asserted_ = false;
    Decision decision = Step(state_, event, now_);
    state_ = std::move(decision.state);
    for (const Effect& effect : decision.effects) {
      if (const auto* publish = std::get_if<Publish>(&effect)) {
        publishes_.push_back(Text(*publish));
        unanswered_ = true;
      }
      if (const auto* wake = std::get_if<WakeAt>(&effect)) wake_ = wake->time;
      if (const auto* set = std::get_if<SetRevision>(&effect)) revisions_.push_back(set->revision);
      if (const auto* reject = std::get_if<Reject>(&effect)) rejects_.push_back(reject->reason);
      if (const auto* start = std::get_if<StartAnalysis>(&effect)) {
        starts_.push_back(fmt::format("{}:{}", start->run_id, fmt::join(start->analysis.templates, "+")));
      }
      if (const auto* stop = std::get_if<StopAnalysis>(&effect)) stops_.push_back(stop->run_id);
      if (const auto* note = std::get_if<Note>(&effect)) notes_.push_back(note->text);
    }
  }

  void Do(const std::vector<Word>& words) {
    const std::string& verb = words[0].key;
    const std::string argument = words.size() > 1 && words[1].relation == 0 ? words[1].key : "";
    if (verb == "spec") {
      DoSpec(words);
    } else if (verb == "ready") {
      EndpointsObserved observed;
      for (size_t i = 1; i < words.size(); ++i) {
        const auto count = Number<uint32_t>(words[i].value);
        count ? void(observed.ready[words[i].key] = *count) : Unknown(words[i]);
      }
      Feed(observed);
    } else if (const auto count = Number<uint32_t>(argument); verb == "replicas" && count) {
      Feed(ReplicasObserved{*count});
    } else if (verb == "published") {
      if (!unanswered_) Fail("there is no publish to answer");
      unanswered_ = false;
      Feed(Published{++generation_});
    } else if (verb == "acks") {
      DoAcks(words);
    } else if (verb == "tick") {
      Pass(argument);
      Feed(Tick{});
    } else if (verb == "restart") {
      Pass(argument);
      const Result<State> read = FromJson(ToJson(state_));
      if (!read.ok() || *read != state_) Fail("the state does not survive its JSON text");
      Feed(Restarted{});
    } else if (verb == "promote") {
      Feed(Promote{argument == "full"});
    } else if (verb == "abort") {
      Feed(Abort{});
    } else if (verb == "retry") {
      Feed(Retry{});
    } else if (verb == "undo") {
      Feed(Undo{argument});
    } else if (verb == "pause") {
      Feed(UserPause{});
    } else if (verb == "resume") {
      Feed(Resume{});
    } else if (const auto weight = Number<uint32_t>(argument); verb == "set-weight" && weight) {
      Feed(SetWeightByHand{*weight});
    } else if (const auto outcome = ParseOutcome(words.back().key); verb == "verdict" && outcome) {
      Feed(AnalysisFinished{argument, *outcome, words.back().value});
    } else if (verb == "taken-out") {
      DoTakenOut(words);
    } else if (verb == "ended") {
      DoEnded(words);
    } else if (verb == "expect") {
      Expect(words);
    } else {
      Unknown(words[0]);
    }
  }

  void Pass(const std::string& argument) {
    if (argument.empty()) return;
    const auto duration = argument[0] == '+' ? ParseDuration(argument.substr(1)) : std::nullopt;
    duration ? void(now_ += *duration) : Unknown({argument});
  }

  void DoSpec(const std::vector<Word>& words) {
    for (size_t i = 1; i < words.size(); ++i) {
      const auto& [key, value, relation] = words[i];
      if (key == "revision") {
        spec_.revision = value;
      } else if (const auto max = Number<uint32_t>(value); key == "max" && max) {
        spec_.max_weight = *max;
      } else if (const auto drain = ParseDuration(value); key == "on-abort" || key == "on-complete") {
        OpenConnections& open = key == "on-abort" ? spec_.on_abort : spec_.on_complete;
        using Way = OpenConnections::Way;
        open = drain              ? OpenConnections{Way::kDrain, *drain}
               : value == "reset" ? OpenConnections{Way::kReset}
                                  : OpenConnections{};
        if (!drain && value != "reset" && value != "keep") Unknown(words[i]);
      } else if (key == "paused" && (value == "yes" || value == "no")) {
        spec_.paused = value == "yes";
      } else if (key == "scaled" && (value == "yes" || value == "no")) {
        spec_.scaled = value == "yes";
      } else if (key == "post" && spec_.blue_green) {
        spec_.blue_green->post_promotion = Analysis{.templates = {value}};
      } else if (key == "background") {
        const size_t at = value.find('@');
        const auto step = at == std::string::npos ? 0U : Number<uint32_t>(value.substr(at + 1));
        spec_.background.reset();
        if (value != "no")
          spec_.background = {Analysis{.templates = {value.substr(0, at)}}, step.value_or(0)};
      } else if (const auto kept = ParseDuration(value); key == "blue-green" && (kept || value == "no")) {
        spec_.blue_green.reset();
        if (kept) spec_.blue_green = BlueGreen{.scale_down_delay = *kept};
      } else if (key == "steps") {
        spec_.steps.clear();
        for (const std::string& step : List(value)) {
          const auto weight = Number<uint32_t>(step);
          const auto duration = step.starts_with("pause:") ? ParseDuration(step.substr(6)) : std::nullopt;
          if (weight) {
            spec_.steps.push_back(SetWeight{*weight});
          } else if (duration || step == "pause") {
            spec_.steps.push_back(Pause{duration});
          } else if (step == "scale") {
            spec_.steps.push_back(SetCanaryScale{});
          } else if (step.starts_with("scale:") && step.ends_with("%")) {
            spec_.steps.push_back(
                SetCanaryScale{.percent = Number<uint32_t>(step.substr(6, step.size() - 7))});
          } else if (step.starts_with("scale:")) {
            spec_.steps.push_back(SetCanaryScale{.replicas = Number<uint32_t>(step.substr(6))});
          } else if (step.starts_with("analysis:")) {
            spec_.steps.push_back(Analysis{.templates = {step.substr(9)}});
          } else {
            Unknown({step});
          }
        }
      } else {
        Unknown(words[i]);
      }
    }
    Feed(SpecChanged{spec_});
  }

  /// n1=12 n2=3/1:why
  void DoEnded(const std::vector<Word>& words) {
    ConnectionsEnded ended{.number = state_.ending ? state_.ending->number : 0, .nodes = {}};
    for (size_t i = 1; i < words.size(); ++i) {
      const auto& [key, value, relation] = words[i];
      const std::string numbers = value.substr(0, value.find(':'));
      const size_t slash = numbers.find('/');
      const auto count = Number<uint64_t>(numbers.substr(0, slash));
      const auto left = slash == std::string::npos ? 0U : Number<uint64_t>(numbers.substr(slash + 1));
      if (!count || !left) {
        Unknown(words[i]);
      } else if (key == "number") {
        ended.number = static_cast<uint32_t>(*count);
      } else {
        ended.nodes[key] = {*count, *left,
                            numbers.size() == value.size() ? "" : value.substr(numbers.size() + 1)};
      }
    }
    Feed(ended);
  }

  std::string ShowEnding() const {
    if (!state_.ending) return "";
    const Ending& ending = *state_.ending;
    if (ending.ordered) return fmt::format("{} ordered under {}", ending.revision, ending.generation);
    if (ending.due) return fmt::format("{} due in {}", ending.revision, Text(*ending.due - now_));
    return ending.revision + " planned";
  }

  void DoAcks(const std::vector<Word>& words) {
    Acks acks{.generation = state_.generation};
    for (size_t i = 1; i < words.size(); ++i) {
      const auto& [key, value, relation] = words[i];
      const auto count = Number<uint32_t>(value);
      if (key == "desired" && count) {
        acks.desired = *count;
      } else if (key == "acked" && count) {
        acks.acked = *count;
      } else if (key == "behind") {
        acks.behind = List(value);
      } else if (key == "refusing") {
        acks.refusing = List(value);
      } else if (const auto generation = Number<uint64_t>(value); key == "generation" && generation) {
        acks.generation = *generation;
      } else {
        Unknown(words[i]);
      }
    }
    Feed(AcksObserved{acks});
  }

  void DoTakenOut(const std::vector<Word>& words) {
    TakenOutObserved observed{state_.canary, state_.fail_safe_round, {}};
    for (size_t i = 1; i < words.size(); ++i) {
      const auto& [key, value, relation] = words[i];
      if (key == "nodes") {
        observed.nodes = List(value);
      } else if (key == "canary") {
        observed.canary = value;
      } else if (const auto round = Number<uint32_t>(value); key == "round" && round) {
        observed.round = *round;
      } else {
        Unknown(words[i]);
      }
    }
    Feed(observed);
  }

  void Expect(const std::vector<Word>& words) {
    const Description description = Describe(state_, now_);
    std::map<std::string, std::string> found = {
        {"phase", PhaseName(description.phase)},
        {"step", std::to_string(state_.step)},
        {"weight", std::to_string(description.canary_weight)},
        {"stable", state_.stable},
        {"canary", state_.canary},
        {"generation", std::to_string(state_.generation)},
        {"round", std::to_string(state_.published_round)},
        {"previous", state_.previous},
        {"pods", CanaryPods(state_) ? std::to_string(*CanaryPods(state_)) : ""},
        {"kept", description.previous_remaining ? Text(*description.previous_remaining) : ""},
        {"history", Join(state_.history, ",")},
        {"paused", description.paused ? "yes" : "no"},
        {"remaining", description.pause_remaining ? Text(*description.pause_remaining) : ""},
        {"message", description.message},
        {"publish", Join(publishes_, " then ")},
        {"wake", wake_ ? Text(*wake_ - now_) : ""},
        {"revision", Join(revisions_, " then ")},
        {"reject", Join(rejects_, "; ")},
        {"note", Join(notes_, "; ")},
        {"start", Join(starts_, " then ")},
        {"stop", Join(stops_, " then ")},
        {"ending", ShowEnding()},
        {"ended", description.ending},
    };
    std::map<std::string, bool> named;
    for (size_t i = 1; i < words.size(); ++i) {
      const auto& [key, value, relation] = words[i];
      const auto it = found.find(key);
      if (it == found.end() || relation == 0) {
        Unknown(words[i]);
        continue;
      }
      named[key] = true;
      const bool holds = relation == '=' ? it->second == value : it->second.find(value) != std::string::npos;
      if (!holds) {
        Fail(fmt::format("{} is \"{}\", expected {}\"{}\"", key, it->second,
                         relation == '=' ? "" : "something with ", value));
      }
    }
    for (const char* key : {"publish", "reject", "revision", "start", "stop"}) {
      if (!found[key].empty() && !named[key]) Fail(fmt::format("unexpected {} \"{}\"", key, found[key]));
    }
    publishes_.clear();
    revisions_.clear();
    rejects_.clear();
    notes_.clear();
    starts_.clear();
    stops_.clear();
    wake_.reset();
    asserted_ = true;
  }

  std::string name_;
  int line_ = 0;
  bool asserted_ = true;
  std::vector<std::string> failures_;

  Spec spec_;
  State state_;
  TimePoint now_{Duration{1'700'000'000'000}};
  uint64_t generation_ = 0;
  bool unanswered_ = false;
  std::vector<std::string> publishes_, revisions_, rejects_, notes_, starts_, stops_;
  std::optional<TimePoint> wake_;
};

}  // namespace

std::vector<std::string> PlayScenario(std::string_view text, std::string_view name) {
  Player player(name);
  player.Play(text);
  return std::move(player).failures();
}

}  // namespace weir::engine
