// Objects, rollouts and the frontends in force. Every change is one transaction: engine steps, compilation,
// the next generation, the store; only when it is durable do memory and the listener learn of it.
//
// One thread. Blocks for the store's commit. No timers, no network.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/clock.h"
#include "common/status.h"
#include "controller/app/digest.h"
#include "controller/compiler/compiler.h"
#include "controller/engine/engine.h"
#include "controller/model/manifest.h"
#include "controller/model/objects.h"
#include "controller/model/vip_index.h"
#include "controller/store/store.h"
#include "controller/webhooks/events.h"

namespace weir::app {

using model::ObjectKey;

/// A run the engine wants, or wants no more.
using AnalysisEffect = std::variant<engine::StartAnalysis, engine::StopAnalysis>;

/// Told what has become durable. In this order: OnNote, OnPublished, OnRolloutChanged for each rollout,
/// OnAnalysis.
class CoreListener {
 public:
  virtual ~CoreListener() = default;
  virtual void OnPublished(uint64_t generation, const compiler::Difference& difference) = 0;
  /// Changed or gone.
  virtual void OnRolloutChanged(const ObjectKey& key) = 0;
  virtual void OnAnalysis(const ObjectKey& rollout, const AnalysisEffect& effect) = 0;
  /// What became of a rollout, in words: for its events. Before all others.
  virtual void OnNote(const ObjectKey& rollout, const std::string& text) = 0;
};

/// A rollout at work.
struct RolloutEntry {
  engine::State state;
  compiler::RolloutWeights weights;  // of the last Publish
  std::map<std::string, compiler::RevisionEndpoints> endpoints;
  engine::TimePoint updated{};                 // last change that was stored
  std::vector<webhooks::Notification> outbox;  // not taken by their webhooks yet, oldest first
  uint64_t notified = 0;                       // the last one's number; 0: there was none
  std::optional<engine::TimePoint> wake;       // not stored: the engine asks again after a restart
};

/// Objects to put and to remove, together.
struct ObjectChanges {
  std::vector<std::pair<model::Object, std::string>> puts;  // with their YAML
  std::vector<std::pair<std::string, ObjectKey>> removals;  // kind and key
};

class Core {
 public:
  /// All must outlive it. `origin`: by which rules objects must fit together.
  Core(store::Store& store, const Clock& clock, CoreListener& listener, compiler::Options options,
       model::Origin origin = model::Origin::kFiles);

  /// Takes up what the store holds and compiles it, under the same generation when the content is the same.
  /// The listener is not told; see AllFrontends. Then call Restart once the agents' side is ready.
  Status Load();
  /// The same with objects from elsewhere: of the store only what is no object is taken up.
  Status Load(model::ObjectSet objects);
  /// Lets the engine look at every rollout again.
  Status Restart();

  /// All or nothing. INVALID_ARGUMENT with every breach of the rules between objects.
  Status Change(const ObjectChanges& changes);
  /// What Change would say, without carrying it out.
  Status Check(const ObjectChanges& changes);

  /// One event for one rollout. NOT_FOUND; FAILED_PRECONDITION with the engine's reason when it rejects a
  /// command; the store's error when the outcome could not be written (then nothing has changed; feed it
  /// again later).
  Status Feed(const ObjectKey& rollout, const engine::Event& event);

  /// The notification is out of the outbox, if it was in it. The store's error when that could not be
  /// written.
  Status StrikeOut(const ObjectKey& rollout, uint64_t notification);

  /// Numbers for nodes that have none, durable: the smallest that are free.
  Result<std::map<std::string, uint32_t>> NumberNodes(const std::vector<std::string>& names);
  Status ForgetNode(const std::string& name);

  /// Moves the generation beyond `held`, with the same content. The listener is told nothing.
  Status SkipBeyond(uint64_t held);

  /// In a cluster a Rollout that is refused for a while (its Service is gone) is no object then, but goes on
  /// where it was when it is one again. This one was deleted: the next of its name begins anew.
  void ForgetRollout(const ObjectKey& rollout) { parked_.erase(rollout); }
  /// At work, or parked; nullptr: neither.
  const RolloutEntry* FindEntry(const ObjectKey& rollout) const;

  /// What Load found of analysis runs; once.
  std::map<store::RunKey, std::string> TakeStoredRuns() { return std::exchange(stored_runs_, {}); }

  const model::ObjectSet& objects() const { return objects_; }
  const std::map<ObjectKey, RolloutEntry>& rollouts() const { return rollouts_; }
  const std::map<ObjectKey, compiler::Frontends>& frontends() const { return frontends_; }  // by service
  /// What divides a port by weights that others write.
  std::string SourceOf(const ObjectKey& service, const model::ServicePort& port,
                       const std::string& consumer_namespace = "") const {
    return compiler_.SourceOf(service, port, consumer_namespace);
  }
  const std::map<std::string, uint32_t>& nodes() const { return nodes_; }
  uint64_t generation() const { return generation_; }
  uint64_t commit_failures() const { return commit_failures_; }
  std::optional<engine::TimePoint> NextWake() const;
  /// Rollouts whose wake has come.
  std::vector<ObjectKey> Due() const;
  engine::TimePoint Now() const;

 private:
  // What a change is going to be; nothing outside is touched until it is durable.
  struct Transaction {
    bool objects = false;                                       // they change
    std::optional<compiler::Compiler> compiler;                 // when more than slices change
    std::map<ObjectKey, std::optional<RolloutEntry>> rollouts;  // nullopt: gone
    std::set<ObjectKey> publish;                         // rollouts that want to be told their generation
    std::set<ObjectKey> services;                        // to compile
    std::map<ObjectKey, compiler::Frontends> frontends;  // compiled
    std::map<ObjectKey, std::string> revisions;          // set from within, by rollout
    std::vector<std::pair<ObjectKey, std::string>> notes;
    std::vector<std::pair<ObjectKey, AnalysisEffect>> analyses;
    std::map<store::ObjectKey, std::optional<std::string>> yaml;
    std::optional<std::string> rejected;
    bool new_generation = false;
  };

  /// The services whose frontends a rollout decides on.
  static void InsertServices(const model::Rollout& rollout, std::set<ObjectKey>& services);
  RolloutEntry* EntryOf(Transaction& transaction, const ObjectKey& key) const;
  void Step(Transaction& transaction, const ObjectKey& key, const engine::Event& event) const;
  void ObserveEndpoints(Transaction& transaction, const ObjectKey& key) const;
  void CompileDirty(Transaction& transaction);
  void Notify(const ObjectKey& key, RolloutEntry& entry) const;
  Status ReadObjects(const store::Contents& contents);
  Status TakeUp(store::Contents contents);
  Status SetRevisions(Transaction& transaction) const;
  Status Commit(Transaction transaction);
  class Placement;
  Status ChangePlaced(const ObjectChanges& changes, Placement& placement);
  Status ValidatePlaced(const ObjectChanges& changes, Transaction& transaction);
  void AffectedServices(const compiler::Compiler& compiler, const model::ObjectSet& objects,
                        std::string_view kind, const ObjectKey& key, std::set<ObjectKey>& services) const;

  store::Store& store_;
  const Clock& clock_;
  CoreListener& listener_;
  const compiler::Options options_;
  const model::Origin origin_;
  compiler::Compiler compiler_;
  model::ObjectSet objects_;
  std::optional<model::VipIndex> vips_;           // of objects_; none after a change of more than slices
  std::map<store::ObjectKey, std::string> yaml_;  // of rollouts: their revision is set from within
  std::map<ObjectKey, RolloutEntry> rollouts_;
  std::map<ObjectKey, RolloutEntry> parked_;  // of Rollouts that are no objects at the moment; ForgetRollout
  std::map<ObjectKey, compiler::Frontends> frontends_;
  std::map<std::string, uint32_t> nodes_;
  std::map<store::RunKey, std::string> stored_runs_;
  uint64_t generation_ = 0;
  Digest digest_{};
  uint64_t commit_failures_ = 0;
};

}  // namespace weir::app
