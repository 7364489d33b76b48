#include "controller/app/analysis_runner.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "common/log.h"
#include "controller/model/analysis_request.h"

namespace weir::app {
namespace {

using analysis::Phase;
using analysis::Run;
using model::ObjectKey;

store::RunKey StoreKey(const AnalysisRunner::Id& id) { return {id.first.ns, id.first.name, id.second}; }

bool HasWeir(const Run& run) {
  return std::ranges::any_of(run.results, [](const auto& result) { return result.weir.has_value(); });
}

/// Measurements ever recorded, by what they came to: with the phases it tells whether something must be
/// stored.
std::map<Phase, uint64_t> Recorded(const Run& run) {
  std::map<Phase, uint64_t> recorded;
  for (const auto& result : run.results) {
    recorded[Phase::kSuccessful] += result.successful;
    recorded[Phase::kFailed] += result.failed;
    recorded[Phase::kInconclusive] += result.inconclusive;
    recorded[Phase::kError] += result.error;
  }
  return recorded;
}

/// What is new enough to be stored at once: all but windows.
std::vector<uint64_t> Progress(const Run& run) {
  std::vector<uint64_t> progress{static_cast<uint64_t>(run.phase), run.terminating ? 1U : 0U};
  for (const auto& result : run.results) {
    progress.insert(progress.end(), {static_cast<uint64_t>(result.phase), result.count(), result.error,
                                     result.in_flight ? 1U : 0U});
  }
  return progress;
}

/// Whether these windows end the run as Failed. It takes a copy of the run to its end, or as far as they go.
bool Fails(Run run, const std::vector<analysis::WindowFigures>& windows, analysis::TimePoint now) {
  for (const auto& window : windows) analysis::Advance(run, analysis::WindowObserved{window}, now);
  return run.phase == Phase::kFailed;
}

}  // namespace

AnalysisRunner::AnalysisRunner(boost::asio::io_context& context, const Clock& clock, store::Store& store,
                               telemetry::Cluster& cluster, Providers& providers, Host& host)
    : context_(context),
      clock_(clock),
      store_(store),
      cluster_(cluster),
      providers_(providers),
      host_(host),
      timer_(context) {}

analysis::TimePoint AnalysisRunner::Now() const {
  return std::chrono::floor<std::chrono::milliseconds>(clock_.WallNow());
}

void AnalysisRunner::Load(const std::map<store::RunKey, std::string>& stored) {
  for (const auto& [key, json] : stored) {
    const ObjectKey rollout{key.ns, key.rollout};
    auto record = ParseStoredRun(json);
    if (!record.ok() || !host_.Objects().rollouts.contains(rollout)) {
      if (!record.ok())
        LogWarn("a stored analysis run cannot be read; it begins anew if it is still wanted",
                {{"rollout", model::ToString(rollout)}, {"run", key.id}, {"error", record.status()}});
      gone_.insert(key);
      continue;
    }
    Entry entry;
    entry.record = *std::move(record);
    entry.restored = true;
    entry.answered = true;  // until the engine asks again
    runs_.emplace(Id{rollout, key.id}, std::move(entry));
  }
}

void AnalysisRunner::EndOthers() {
  for (auto& [id, entry] : runs_) {
    if (!entry.wanted && !analysis::Completed(entry.record.run.phase)) Feed(id, entry, analysis::Terminate{});
  }
  Flush();
}

Result<std::vector<analysis::Metric>> AnalysisRunner::Resolve(const ObjectKey& rollout,
                                                              const engine::StartAnalysis& start) const {
  analysis::RunRequest request = model::RequestOf(start.analysis);
  request.stable = start.stable;
  request.latest = start.canary;
  request.background = start.where == engine::AnalysisWhere::kBackground;
  return analysis::ResolveRun(request, model::TemplatesOf(host_.Objects(), rollout.ns));
}

AnalysisRunner::Entry AnalysisRunner::Begin(const ObjectKey& rollout,
                                            const engine::StartAnalysis& start) const {
  Entry entry;
  entry.record = {.rollout = rollout,
                  .where = start.where,
                  .step = start.step,
                  .stable = start.stable,
                  .canary = start.canary,
                  .run = {}};
  auto metrics = Resolve(rollout, start);
  if (metrics.ok()) {
    entry.record.run = analysis::StartRun(start.run_id, *std::move(metrics), Now());
  } else {  // what was right when it was applied may be another by now
    Run& run = entry.record.run;
    run.id = start.run_id;
    run.phase = Phase::kError;
    run.message = Message(metrics.status());
    run.started = Now();
    run.finished = run.started;
  }
  return entry;
}

void AnalysisRunner::Start(const ObjectKey& rollout, const engine::StartAnalysis& start) {
  const Id id{rollout, start.run_id};
  auto found = runs_.find(id);
  const bool fresh = found == runs_.end();
  if (fresh) found = runs_.emplace(id, Begin(rollout, start)).first;
  Entry& entry = found->second;
  entry.wanted = true;
  entry.answered = false;
  // The first whole second from now: what came before is not the run's. Figures from before a restart are
  // not known any more.
  if (fresh || entry.restored) {
    const bool with_past = start.where == engine::AnalysisWhere::kPostPromotion;
    entry.windows = WindowReader(telemetry::SecondOf(clock_.Now()) + 1, with_past);
    const auto object = host_.Objects().rollouts.find(rollout);
    if (fresh && with_past && object != host_.Objects().rollouts.end())
      entry.windows.TakePast(cluster_, object->second, start.stable);
  }
  if (fresh) {
    gone_.erase(StoreKey(id));
    dirty_.insert(id);
    Feed(id, entry, analysis::Tick{});
  } else if (std::exchange(entry.restored, false) && !analysis::Completed(entry.record.run.phase)) {
    if (const auto metrics = Resolve(rollout, start); metrics.ok())
      analysis::Reattach(entry.record.run, *metrics);
    Feed(id, entry, analysis::Restarted{});
  }
  if (analysis::Completed(entry.record.run.phase)) ended_.insert(id);
  Flush();
}

void AnalysisRunner::Stop(const ObjectKey& rollout, const engine::StopAnalysis& stop) {
  const auto found = runs_.find({rollout, stop.run_id});
  if (found == runs_.end()) return;
  found->second.wanted = false;
  Feed(found->first, found->second, analysis::Terminate{});
  Flush();
}

void AnalysisRunner::Forget(const ObjectKey& rollout) {
  for (auto at = runs_.lower_bound({rollout, ""}); at != runs_.end() && at->first.first == rollout;) {
    gone_.insert(StoreKey(at->first));
    dirty_.erase(at->first);
    ended_.erase(at->first);
    at = runs_.erase(at);
  }
  Flush();
}

void AnalysisRunner::Feed(const Id& id, Entry& entry, const analysis::RunEvent& event) {
  Run& run = entry.record.run;
  const auto before = Progress(run);
  const auto recorded = Recorded(run);
  for (const analysis::RunEffect& effect : analysis::Advance(run, event, Now())) {
    if (const auto* wake = std::get_if<analysis::WakeAt>(&effect)) entry.wake = wake->time;
    if (const auto* ask = std::get_if<analysis::TakeMeasurement>(&effect))
      entry.questions.push_back(ask->metric);
    if (std::holds_alternative<analysis::Finished>(effect)) ended_.insert(id);
  }
  for (const auto& [phase, count] : Recorded(run))
    statistics_.measurements[phase] += count - recorded.at(phase);
  if (analysis::Completed(run.phase)) {
    entry.wake.reset();
    entry.questions.clear();
  }
  if (Progress(run) != before || !entry.questions.empty()) dirty_.insert(id);
}

void AnalysisRunner::ReadWindows() {
  const MonotonicTime now = clock_.Now();
  const telemetry::Second settled = cluster_.Settled(now);
  for (auto& [id, entry] : runs_) {
    if (analysis::Completed(entry.record.run.phase) || !HasWeir(entry.record.run)) continue;
    const auto rollout = host_.Objects().rollouts.find(id.first);
    if (rollout == host_.Objects().rollouts.end()) continue;
    const auto read = [&, &record = entry.record](WindowReader& windows, telemetry::Second end) {
      return windows.Read(cluster_, rollout->second, record.stable, record.canary, end);
    };
    for (const auto& window : read(entry.windows, settled)) Feed(id, entry, analysis::WindowObserved{window});
    // Seconds that are not over: what is bad enough already waits for nobody's report. What is not is read
    // again, whole, when it is settled.
    WindowReader ahead = entry.windows;
    const auto unsettled = read(ahead, telemetry::SecondOf(now) + 1);
    if (!Fails(entry.record.run, unsettled, Now())) continue;
    entry.windows = std::move(ahead);
    for (const auto& window : unsettled) Feed(id, entry, analysis::WindowObserved{window});
  }
}

void AnalysisRunner::Look() {
  if (stopped_) return;
  ReadWindows();
  for (auto& [id, entry] : runs_) {
    // The wake is replaced by what comes of the tick.
    if (entry.wake && *entry.wake <= Now()) {
      entry.wake.reset();
      Feed(id, entry, analysis::Tick{});
    }
  }
  Flush();
  Deliver();
}

void AnalysisRunner::Trim(const ObjectKey& rollout) {
  std::vector<std::pair<analysis::TimePoint, Id>> good, bad;
  for (auto at = runs_.lower_bound({rollout, ""}); at != runs_.end() && at->first.first == rollout; ++at) {
    const Entry& entry = at->second;
    if (!analysis::Completed(entry.record.run.phase) || (entry.wanted && !entry.answered)) continue;
    auto& kind = entry.record.run.phase == Phase::kSuccessful ? good : bad;
    kind.emplace_back(entry.record.run.finished.value_or(entry.record.run.started), at->first);
  }
  for (auto* kind : {&good, &bad}) {
    std::ranges::sort(*kind);
    for (size_t i = 0; i + kKept < kind->size(); ++i) {
      const Id& id = (*kind)[i].second;
      gone_.insert(StoreKey(id));
      dirty_.erase(id);
      runs_.erase(id);
    }
  }
}

/// Nothing that a run wants is done before it is stored; what could not be stored is tried again at the next
/// look.
void AnalysisRunner::Flush() {
  Arm();
  if (stopped_ || !StoreDirty() || ended_.empty() || std::exchange(delivering_, true)) return;
  // Not from within: it may be the engine that asked.
  boost::asio::post(context_, [this] {
    delivering_ = false;
    Deliver();
  });
}

bool AnalysisRunner::StoreDirty() {
  if (dirty_.empty() && gone_.empty()) return true;
  store::Batch batch;
  for (const store::RunKey& key : gone_) batch.runs[key] = std::nullopt;
  for (const Id& id : dirty_) batch.runs[StoreKey(id)] = ToStored(runs_.at(id).record);
  if (const Status status = store_.Commit(batch); !status.ok()) {
    if (statistics_.commit_failures++ % 100 == 0)
      LogError("analysis runs could not be written; nothing of them is done until they are",
               {{"error", status}});
    return false;
  }
  gone_.clear();
  for (const Id& id : std::exchange(dirty_, {})) CarryOut(id);
  return true;
}

void AnalysisRunner::CarryOut(const Id& id) {
  const auto found = runs_.find(id);
  if (found == runs_.end()) return;
  for (const size_t metric : std::exchange(found->second.questions, {})) Ask(id, metric);
  host_.OnRunChanged(id.first);
}

void AnalysisRunner::Deliver() {
  if (stopped_) return;
  for (const Id& id : std::exchange(ended_, {})) {
    const auto found = runs_.find(id);
    if (found == runs_.end()) continue;
    if (dirty_.contains(id)) {
      ended_.insert(id);  // not stored yet
      continue;
    }
    const Run& run = found->second.record.run;
    if (found->second.wanted && !found->second.answered) {
      LogInfo("analysis run ended", {{"rollout", model::ToString(id.first)},
                                     {"run", id.second},
                                     {"phase", analysis::PhaseName(run.phase)},
                                     {"message", run.message}});
      found->second.answered = true;  // before: what it leads to may look at the run
      const Status status = host_.OnFinished(
          id.first, {.run_id = run.id, .outcome = OutcomeOf(run.phase), .message = run.message});
      if (!status.ok()) {
        if (const auto again = runs_.find(id); again != runs_.end()) {
          again->second.answered = false;
          ended_.insert(id);
        }
        continue;
      }
    }
    Trim(id.first);
  }
  StoreDirty();
  Arm();  // what was not heard is told again at the next look
}

void AnalysisRunner::Ask(const Id& id, size_t metric) {
  const analysis::Metric& asked = runs_.at(id).record.run.metrics[metric];
  const auto answer = [this, id, metric](std::variant<boost::json::value, std::string> outcome) {
    const auto found = runs_.find(id);
    if (stopped_ || found == runs_.end()) return;
    Feed(id, found->second, analysis::Measured{metric, std::move(outcome)});
    Flush();
  };
  if (!asked.sealed.empty()) {
    boost::asio::post(context_, [answer] {
      answer(
          std::string("what is asked is not kept with a run, and its AnalysisTemplate has changed since: "
                      "retry begins a new run"));
    });
    return;
  }
  const char* provider = std::holds_alternative<analysis::WebRequest>(asked.provider) ? "web" : "prometheus";
  providers_.Ask(asked.provider, Now(),
                 [this, answer, provider, since = clock_.Now()](Result<boost::json::value> value) {
                   if (stopped_) return;
                   Count(provider, clock_.Now() - since, !value.ok());
                   if (value.ok()) {
                     answer(*std::move(value));
                   } else {
                     answer(Message(value.status()));
                   }
                 });
}

void AnalysisRunner::Count(const char* provider, std::chrono::nanoseconds time, bool error) {
  Statistics::Provider& of = statistics_.providers[provider];
  const double seconds = std::chrono::duration<double>(time).count();
  const auto bound = std::ranges::lower_bound(Statistics::kLatencyBounds, seconds);
  ++of.buckets[static_cast<size_t>(bound - Statistics::kLatencyBounds.begin())];
  of.seconds += seconds;
  of.errors += error ? 1 : 0;
}

bool AnalysisRunner::Busy() const {
  return !dirty_.empty() || !gone_.empty() || !ended_.empty() ||
         std::ranges::any_of(
             runs_, [](const auto& run) { return !analysis::Completed(run.second.record.run.phase); });
}

void AnalysisRunner::Arm() {
  if (stopped_ || armed_ || !Busy()) return;
  armed_ = true;
  timer_.expires_after(kPace);
  timer_.async_wait([this](boost::system::error_code error) {
    armed_ = false;
    if (error || stopped_) return;
    Look();
    Arm();
  });
}

void AnalysisRunner::Shutdown() {
  stopped_ = true;
  timer_.cancel();
  providers_.Stop();
}

}  // namespace weir::app
