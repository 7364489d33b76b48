// Owns the runs of analyses: begins and ends them as the engine wants, asks providers, feeds the kernel's
// figures to the built-in test, and tells the engine how they end.
//
//   StartAnalysis --> run, stored --> questions, windows, time --> stored --> AnalysisFinished
//
// A run is stored before anything that it wants is done, and before its end is told. So a crash anywhere
// replays safely: the engine asks again for each run that shall be at work, and finds it where it was, or
// over. Windows between two measurements are not stored; what a crash takes of them is missing, as seconds
// that nobody reported are.
//
// The io_context's thread. Blocks for a commit of the store, nothing else.
#pragma once

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/status.h"
#include "controller/app/analysis_record.h"
#include "controller/app/analysis_windows.h"
#include "controller/app/providers.h"
#include "controller/engine/engine.h"
#include "controller/model/objects.h"
#include "controller/store/store.h"
#include "controller/telemetry/cluster.h"

namespace weir::app {

class AnalysisRunner {
 public:
  /// What it needs of the application.
  class Host {
   public:
    virtual ~Host() = default;
    /// Templates and Services, as they are now.
    virtual const model::ObjectSet& Objects() const = 0;
    /// The end of a run that the engine waits for. OK also where it is no news; an error: it is told again.
    virtual Status OnFinished(const model::ObjectKey& rollout, const engine::AnalysisFinished& event) = 0;
    /// Something to see is new.
    virtual void OnRunChanged(const model::ObjectKey& rollout) = 0;
  };

  /// Since the start of the process, for /metrics.
  struct Statistics {
    static constexpr std::array<double, 8> kLatencyBounds = {0.005, 0.025, 0.1, 0.5, 1, 2.5, 10, 30};
    struct Provider {
      std::array<uint64_t, kLatencyBounds.size() + 1> buckets{};  // of answers and errors
      double seconds = 0;
      uint64_t errors = 0;
    };
    std::map<std::string, Provider> providers;         // "prometheus", "web"
    std::map<analysis::Phase, uint64_t> measurements;  // recorded, by what they came to
    uint64_t commit_failures = 0;
  };

  static constexpr std::chrono::milliseconds kPace{200};  // between two looks, while a run is at work
  static constexpr size_t kKept = 5;                      // ended runs of a rollout, of either kind: as Argo

  /// All must outlive it; it outlives the io_context's work.
  AnalysisRunner(boost::asio::io_context& context, const Clock& clock, store::Store& store,
                 telemetry::Cluster& cluster, Providers& providers, Host& host);

  /// Takes up what is stored. Runs that cannot be read begin anew when they are asked for.
  void Load(const std::map<store::RunKey, std::string>& stored);
  /// After the engine has asked for all that shall be at work: the others are of no use any more.
  void EndOthers();

  void Start(const model::ObjectKey& rollout, const engine::StartAnalysis& start);
  void Stop(const model::ObjectKey& rollout, const engine::StopAnalysis& stop);
  /// The rollout is no more, and neither are its runs.
  void Forget(const model::ObjectKey& rollout);

  /// Everything that is due: windows, time, what could not be stored or told. By the timer; for tests.
  void Look();
  /// No question and no timer is left; what is under way goes on after the next Load.
  void Shutdown();

  using Id = std::pair<model::ObjectKey, std::string>;  // rollout, run
  struct Entry {
    AnalysisRecord record;
    bool wanted = false;    // the engine waits for its end
    bool restored = false;  // of the store, not asked for yet
    bool answered = false;  // the engine knows its end
    std::optional<analysis::TimePoint> wake;
    std::vector<size_t> questions;  // metrics to ask as soon as the run is stored
    WindowReader windows;
  };
  const std::map<Id, Entry>& runs() const { return runs_; }
  const Statistics& statistics() const { return statistics_; }

 private:
  analysis::TimePoint Now() const;
  Entry Begin(const model::ObjectKey& rollout, const engine::StartAnalysis& start) const;
  Result<std::vector<analysis::Metric>> Resolve(const model::ObjectKey& rollout,
                                                const engine::StartAnalysis& start) const;
  void Feed(const Id& id, Entry& entry, const analysis::RunEvent& event);
  void ReadWindows();
  void Ask(const Id& id, size_t metric);
  void Count(const char* provider, std::chrono::nanoseconds time, bool error);
  void Trim(const model::ObjectKey& rollout);
  void Flush();
  bool StoreDirty();
  void CarryOut(const Id& id);
  void Deliver();
  bool Busy() const;
  void Arm();

  boost::asio::io_context& context_;
  const Clock& clock_;
  store::Store& store_;
  telemetry::Cluster& cluster_;
  Providers& providers_;
  Host& host_;
  std::map<Id, Entry> runs_;
  std::set<Id> dirty_;            // to be stored
  std::set<store::RunKey> gone_;  // to be erased from the store
  std::set<Id> ended_;            // the engine is to be told
  Statistics statistics_;
  boost::asio::steady_timer timer_;
  bool armed_ = false, delivering_ = false, stopped_ = false;
};

}  // namespace weir::app
