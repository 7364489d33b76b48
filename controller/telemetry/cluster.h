// What every revision of every service does, over all nodes: agents' cumulative counters in, counts per
// second out.
//
// Pure: time comes with each call. One thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "controller/telemetry/counts.h"
#include "controller/telemetry/ring.h"
#include "weir/v1/agent.pb.h"

namespace weir::telemetry {

using ServiceKey = std::pair<std::string, std::string>;  // namespace, name

/// The window of the monotonic clock a moment lies in, and its begin.
Second SecondOf(MonotonicTime time);
MonotonicTime BeginOf(Second second);

/// One revision of one service.
struct Revision {
  Counts counts;        // within the seconds asked for
  uint64_t active = 0;  // TCP connections open now
};

/// One second of one service; revisions without a count in it are left out.
struct Window {
  Second second = 0;
  MonotonicTime start{};
  std::map<std::string, Counts> revisions;
};

class Cluster {
 public:
  struct Options {
    size_t max_series = 20'000;          // revisions of services, cluster-wide; more are counted in `refused`
    size_t max_series_of_node = 20'000;  // likewise
    std::chrono::seconds quiet{60};      // a node unheard of for so long has no open connections any more
    std::chrono::seconds forget_node{3600};  // and is as good as new after this
    std::chrono::seconds forget_series{
        600};  // a series no node holds, without a count for so long, is removed
  };
  /// Since the start, for /metrics.
  struct Statistics {
    uint64_t reports = 0;
    uint64_t baselines = 0;  // reports only taken as the place to count from
    uint64_t epochs = 0;     // times a node's counters began anew
    uint64_t stale = 0;      // series or reports from before what is known, left out
    uint64_t refused = 0;    // series left out beyond a limit
  };

  Cluster() : Cluster(Options{}) {}
  explicit Cluster(const Options& options) : options_(options) {}

  /// A message of `node`, on the stream that began at `stream`. `now` never goes back.
  void Report(const std::string& node, MonotonicTime stream, const v1::Telemetry& telemetry,
              MonotonicTime now);
  /// The node is no more: what it counted stays, what it has open does not.
  void Forget(const std::string& node);

  /// Seconds before this one are final, as far as nodes report in time: read windows up to it, each once.
  /// Never goes back. A node that is late by more than three of its intervals is waited for no longer; what
  /// it brings then goes to windows that may have been read, and to totals.
  Second Settled(MonotonicTime now);
  /// The second from which counts can be complete: the one after the first report. Settled() while there is
  /// none.
  Second Begin(MonotonicTime now);

  /// The seconds [first, end) of a service in order, those with a count in them. At most the last
  /// Ring::kSeconds exist.
  std::vector<Window> Windows(const ServiceKey& service, Second first, Second end) const;
  /// Sums over the seconds [first, end), by revision: every revision that nodes hold or that has counts.
  std::map<std::string, Revision> Sum(const ServiceKey& service, Second first, Second end) const;
  /// Since the start of this view.
  std::map<std::string, Revision> Totals(const ServiceKey& service) const;
  std::vector<ServiceKey> Services() const;

  const Statistics& statistics() const { return statistics_; }
  size_t nodes() const { return nodes_.size(); }
  size_t series() const { return series_.size(); }
  /// Of what is kept, about.
  size_t bytes() const;

 private:
  struct Series {
    ServiceKey service;
    std::string revision;
    Counts total;
    Ring ring;
    uint64_t active = 0;
    size_t holders = 0;  // nodes that have it
    Second touched = 0;
  };
  struct Last {  // what a node said last of a series
    std::string packed;
    uint64_t active = 0;
    uint64_t report = 0;  // number of the report it was in
    int behind = 0;       // reports in a row that were older than this
  };
  /// How the series of one report are to be taken.
  struct Reading {
    bool from_zero = false;  // a series that is new to the node counts from 0; else it is a baseline
    Second first = 0, last = 0;
  };
  struct Node {
    std::string epoch, previous_epoch;
    MonotonicTime stream{}, heard{};
    std::chrono::nanoseconds interval{};  // it is waited for
    std::chrono::nanoseconds gap{};       // between its last two reports
    uint64_t reports = 0;
    bool quiet = false;    // its open connections are taken off
    bool refused = false;  // it has series that were left out
    bool whole = false;    // a first report of it came to its end: until then all it says is a baseline
    bool opening = false;  // within the first report of its stream
    Reading opening_as;
    std::unordered_map<Series*, Last> series;
  };

  Series* Find(const v1::SeriesKey& key, Second now);
  Series* FindExisting(const v1::SeriesKey& key);
  Reading Prepare(Node& node, bool known, MonotonicTime stream, const v1::Telemetry& telemetry,
                  MonotonicTime now);
  void Take(Node& node, const Reading& reading, const v1::Series& series);
  static void AddTo(Series& series, const Counts& counts, const Reading& reading);
  static void Drop(Node& node, std::unordered_map<Series*, Last>::iterator which);
  static void DropAll(Node& node);
  static void SetQuiet(Node& node, bool quiet);
  void Sweep(MonotonicTime now);

  Options options_;
  std::unordered_map<std::string, Series> series_;  // by "namespace\0service\0revision"
  std::map<ServiceKey, std::map<std::string, Series*>> services_;
  std::map<std::string, Node> nodes_;
  Statistics statistics_;
  Second settled_ = 0, begin_ = 0, next_sweep_ = 0;
};

}  // namespace weir::telemetry
