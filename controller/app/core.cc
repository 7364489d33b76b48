#include "controller/app/core.h"

#include <algorithm>
#include <cstdlib>
#include <set>
#include <utility>

#include "common/log.h"
#include "controller/app/digest.h"
#include "controller/app/stored.h"
#include "controller/model/manifest.h"

namespace weir::app {
namespace {

constexpr size_t kMaxOutbox = 256;  // notifications of one rollout; beyond it the oldest are not kept
constexpr uint64_t kMaxGenerationHeld = uint64_t{1} << 62;  // an agent that claims more is not believed

constexpr std::string_view kRollout = "Rollout";

using WeightsByRollout = std::map<ObjectKey, compiler::RolloutWeights>;

void AddWeights(const ObjectKey& key, const RolloutEntry& entry, WeightsByRollout& weights) {
  if (!entry.weights.stable.empty()) weights[key] = entry.weights;
}

const compiler::Frontends& FrontendsOf(const std::map<ObjectKey, compiler::Frontends>& frontends,
                                       const ObjectKey& service) {
  static const compiler::Frontends kNone;
  const auto found = frontends.find(service);
  return found == frontends.end() ? kNone : found->second;
}

// Acknowledgements and endpoints are observed anew after a restart; all else must outlive it. That every node
// holds weights which are stored leads to nothing by itself, and is found again: thousands of rollouts would
// be written whenever a node comes or goes.
bool SameButForWhatIsObserved(const RolloutEntry& a, const RolloutEntry& b) {
  engine::State state = a.state;
  state.acks = b.state.acks;
  state.ready = b.state.ready;
  const bool published =
      state.delivery != engine::Delivery::kNone && b.state.delivery != engine::Delivery::kNone;
  if (published) state.delivery = b.state.delivery;
  return state == b.state && a.weights == b.weights;
}

}  // namespace

Core::Core(store::Store& store, const Clock& clock, CoreListener& listener, compiler::Options options,
           model::Origin origin)
    : store_(store),
      clock_(clock),
      listener_(listener),
      options_(options),
      origin_(origin),
      compiler_(options) {}

engine::TimePoint Core::Now() const {
  return std::chrono::floor<std::chrono::milliseconds>(clock_.WallNow());
}

Status Core::Load() {
  ASSIGN_OR_RETURN(store::Contents contents, store_.Load());
  RETURN_IF_ERROR(ReadObjects(contents));
  return TakeUp(std::move(contents));
}

Status Core::Load(model::ObjectSet objects) {
  ASSIGN_OR_RETURN(store::Contents contents, store_.Load());
  objects_ = std::move(objects);
  return TakeUp(std::move(contents));
}

Status Core::ReadObjects(const store::Contents& contents) {
  for (const auto& [key, yaml] : contents.objects) {
    std::string place = fmt::format("stored {} {}/{}", key.kind, key.ns, key.name);
    auto documents = model::ParseManifests(yaml, place);
    RETURN_IF_ERROR(Annotate(documents.status(),
                             "the state directory holds an object this weir-controller does not take"));
    if (documents->size() != 1) {
      return Error(absl::StatusCode::kDataLoss,
                   "{}: found {} documents, expected 1: restore the state directory", place,
                   documents->size());
    }
    objects_.Put(documents->front().object);
  }
  RETURN_IF_ERROR(Annotate(model::ValidateSet(objects_, origin_),
                           "the objects of the state directory do not fit together"));
  return OkStatus();
}

Status Core::TakeUp(store::Contents contents) {
  std::erase_if(contents.objects, [](const auto& entry) { return entry.first.kind != kRollout; });
  yaml_ = std::move(contents.objects);
  nodes_ = std::move(contents.nodes);
  stored_runs_ = std::move(contents.runs);

  WeightsByRollout weights;
  for (const auto& [key, rollout] : objects_.rollouts) {
    RolloutEntry entry;
    if (auto stored = contents.states.find({key.ns, key.name}); stored != contents.states.end()) {
      auto parsed = ParseStored(stored->second);
      RETURN_IF_ERROR(
          Annotate(parsed.status(), fmt::format("stored state of rollout {}", model::ToString(key))));
      entry = *std::move(parsed);
    }
    entry.endpoints = compiler::CountEndpoints(objects_, rollout);
    AddWeights(key, entry, weights);
    rollouts_.emplace(key, std::move(entry));
  }
  for (const auto& [name, state] : contents.states) {
    const ObjectKey key{name.ns, name.name};
    if (origin_ == model::Origin::kFiles || rollouts_.contains(key)) continue;
    auto parsed = ParseStored(state);
    RETURN_IF_ERROR(
        Annotate(parsed.status(), fmt::format("stored state of rollout {}", model::ToString(key))));
    parked_.emplace(key, *std::move(parsed));
  }
  compiler_.Index(objects_);
  for (const auto& [key, service] : objects_.services) {
    compiler::Frontends compiled = compiler_.CompileService(objects_, weights, key);
    for (const auto& [id, frontend] : compiled) Add(digest_, frontend);
    frontends_[key] = std::move(compiled);
  }
  generation_ = contents.generation.number;
  std::string digest = ToHex(digest_);
  if (generation_ == 0 || digest != contents.generation.digest) {
    if (generation_ != 0) {
      LogWarn("the stored objects compile to other content than before; it gets a new generation",
              {{"generation", generation_ + 1}});
    }
    store::Batch batch;
    batch.generation = store::GenerationMark{generation_ + 1, digest};
    RETURN_IF_ERROR(store_.Commit(batch));
    ++generation_;
  }
  return OkStatus();
}

Status Core::Restart() {
  for (const auto& [key, rollout] : objects_.rollouts) {
    Transaction transaction;
    ObserveEndpoints(transaction, key);
    Step(transaction, key, engine::SpecChanged{rollout.spec});
    Step(transaction, key, engine::Restarted{});
    RETURN_IF_ERROR(Commit(std::move(transaction)));
  }
  return OkStatus();
}

const RolloutEntry* Core::FindEntry(const ObjectKey& rollout) const {
  for (const auto* entries : {&rollouts_, &parked_}) {
    if (const auto found = entries->find(rollout); found != entries->end()) return &found->second;
  }
  return nullptr;
}

RolloutEntry* Core::EntryOf(Transaction& transaction, const ObjectKey& key) const {
  auto staged = transaction.rollouts.find(key);
  if (staged == transaction.rollouts.end()) {
    auto present = rollouts_.find(key);
    if (present == rollouts_.end()) return nullptr;
    staged = transaction.rollouts.emplace(key, present->second).first;
  }
  return staged->second ? &*staged->second : nullptr;
}

void Core::InsertServices(const model::Rollout& rollout, std::set<ObjectKey>& services) {
  services.insert({rollout.key.ns, rollout.service});
  if (!rollout.preview_service.empty()) services.insert({rollout.key.ns, rollout.preview_service});
}

void Core::Step(Transaction& transaction, const ObjectKey& key, const engine::Event& event) const {
  RolloutEntry* entry = EntryOf(transaction, key);
  if (entry == nullptr) return;
  engine::Decision decision = engine::Step(entry->state, event, Now());
  entry->state = std::move(decision.state);
  std::optional<std::string> revision;
  for (auto& effect : decision.effects) {
    if (auto* publish = std::get_if<engine::Publish>(&effect)) {
      entry->weights = {publish->stable,        publish->canary,   publish->stable_weight,
                        publish->canary_weight, publish->previous, publish->round};
      transaction.publish.insert(key);
      InsertServices(objects_.rollouts.at(key), transaction.services);
    } else if (auto* wake = std::get_if<engine::WakeAt>(&effect)) {
      entry->wake = wake->time;
    } else if (auto* set = std::get_if<engine::SetRevision>(&effect)) {
      revision = set->revision;
    } else if (auto* reject = std::get_if<engine::Reject>(&effect)) {
      transaction.rejected = std::move(reject->reason);
    } else if (auto* note = std::get_if<engine::Note>(&effect)) {
      transaction.notes.emplace_back(key, std::move(note->text));
    } else if (auto* start = std::get_if<engine::StartAnalysis>(&effect)) {
      transaction.analyses.emplace_back(key, std::move(*start));
    } else if (auto* stop = std::get_if<engine::StopAnalysis>(&effect)) {
      transaction.analyses.emplace_back(key, std::move(*stop));
    }
  }
  if (!revision) return;
  transaction.revisions[key] = *revision;
  // The object now says what the engine wanted; from here on that is what was given.
  engine::Spec spec = objects_.rollouts.at(key).spec;
  spec.revision = *revision;
  Step(transaction, key, engine::SpecChanged{std::move(spec)});
}

void Core::ObserveEndpoints(Transaction& transaction, const ObjectKey& key) const {
  RolloutEntry* entry = EntryOf(transaction, key);
  if (entry == nullptr) return;
  entry->endpoints = compiler::CountEndpoints(objects_, objects_.rollouts.at(key));
  engine::EndpointsObserved observed;
  for (const auto& [revision, count] : entry->endpoints) observed.ready[revision] = count.ready;
  Step(transaction, key, observed);
}

void Core::CompileDirty(Transaction& transaction) {
  compiler::Compiler& compiler = transaction.compiler ? *transaction.compiler : compiler_;
  bool changed = false;
  while (!transaction.services.empty() || !transaction.publish.empty()) {
    WeightsByRollout weights;
    // Without new objects only services of the rollouts in this transaction are compiled.
    if (transaction.objects) {
      for (const auto& [key, entry] : rollouts_) AddWeights(key, entry, weights);
    }
    for (const auto& [key, entry] : transaction.rollouts) {
      weights.erase(key);
      if (entry) AddWeights(key, *entry, weights);
    }
    for (const ObjectKey& service : std::exchange(transaction.services, {})) {
      compiler::Frontends compiled;
      if (objects_.services.contains(service)) compiled = compiler.CompileService(objects_, weights, service);
      auto difference = compiler::Diff(FrontendsOf(frontends_, service), compiled);
      changed = changed || !difference.upserts.empty() || !difference.removals.empty();
      transaction.frontends[service] = std::move(compiled);
    }
    transaction.new_generation = changed;
    for (const ObjectKey& key : std::exchange(transaction.publish, {})) {
      // What is in force already keeps the number under which it came into force.
      uint64_t before = EntryOf(transaction, key)->state.generation;
      uint64_t generation = changed ? generation_ + 1 : before != 0 ? before : generation_;
      Step(transaction, key, engine::Published{generation});
    }
  }
}

Status Core::SetRevisions(Transaction& transaction) const {
  for (const auto& [key, revision] : transaction.revisions) {
    store::ObjectKey id{std::string(kRollout), key.ns, key.name};
    auto staged = transaction.yaml.find(id);
    if (origin_ == model::Origin::kCluster)
      continue;  // whoever gives the objects hears of it and carries it on
    const std::string& text = staged != transaction.yaml.end() ? *staged->second : yaml_.at(id);
    ASSIGN_OR_RETURN(std::string changed, WithRevision(text, revision));
    transaction.yaml[id] = std::move(changed);
  }
  return OkStatus();
}

/// Puts what people are to hear of the change into the outbox.
void Core::Notify(const ObjectKey& key, RolloutEntry& entry) const {
  const auto present = rollouts_.find(key);
  const engine::State before = present == rollouts_.end() ? engine::State{} : present->second.state;
  const auto events = webhooks::EventsBetween(before, entry.state, Now());
  const auto& all = objects_.webhooks;
  for (const std::string& event : events) {
    auto fields = webhooks::FieldsOf(key, entry.state, Now());
    fields["event"] = event;
    for (auto it = all.lower_bound({key.ns, ""}); it != all.end() && it->first.ns == key.ns; ++it) {
      if (!it->second.events.contains(event)) continue;
      // Not from 1 on: a rollout of the same name, after this one is gone or in another state directory, must
      // not repeat a number that receivers have seen.
      const auto now = static_cast<uint64_t>(Now().time_since_epoch().count());
      entry.notified = std::max(entry.notified + 1, now);
      fields["id"] = fmt::format("{}/{}", model::ToString(key), entry.notified);
      entry.outbox.push_back({entry.notified, it->first.name, fields});
    }
  }
  if (entry.outbox.size() <= kMaxOutbox) return;
  LogWarn("notifications do not outlive a restart: too many wait for their webhooks",
          {{"rollout", model::ToString(key)}, {"kept", kMaxOutbox}});
  entry.outbox.erase(entry.outbox.begin(), entry.outbox.end() - kMaxOutbox);
}

Status Core::StrikeOut(const ObjectKey& rollout, uint64_t notification) {
  const auto found = rollouts_.find(rollout);
  if (found == rollouts_.end()) return OkStatus();
  RolloutEntry entry = found->second;
  if (std::erase_if(entry.outbox, [&](const auto& n) { return n.number == notification; }) == 0)
    return OkStatus();
  store::Batch batch;
  batch.states[{rollout.ns, rollout.name}] = ToStored(entry);
  if (Status status = store_.Commit(batch); !status.ok()) {
    ++commit_failures_;
    return status;
  }
  found->second.outbox = std::move(entry.outbox);
  return OkStatus();
}

Status Core::Commit(Transaction transaction) {
  CompileDirty(transaction);
  RETURN_IF_ERROR(SetRevisions(transaction));

  compiler::Difference total;
  std::map<std::string, v1::FrontendKey> removals;
  Digest digest = digest_;
  for (const auto& [service, compiled] : transaction.frontends) {
    const compiler::Frontends& before = FrontendsOf(frontends_, service);
    auto difference = compiler::Diff(before, compiled);
    for (auto& key : difference.removals) {
      std::string id = compiler::ToKey(key);
      Subtract(digest, before.at(id));
      removals.emplace(std::move(id), std::move(key));
    }
    for (auto& frontend : difference.upserts) {
      if (auto old = before.find(compiler::ToKey(frontend.key())); old != before.end())
        Subtract(digest, old->second);
      Add(digest, frontend);
      total.upserts.push_back(std::move(frontend));
    }
  }
  // An address that went from one service to another is not removed.
  for (const auto& frontend : total.upserts) removals.erase(compiler::ToKey(frontend.key()));
  for (auto& [id, key] : removals) total.removals.push_back(std::move(key));

  store::Batch batch;
  batch.objects = transaction.yaml;
  engine::TimePoint now = Now();
  for (auto& [key, entry] : transaction.rollouts) {
    auto present = rollouts_.find(key);
    if (!entry) {
      batch.states[{key.ns, key.name}] = std::nullopt;
    } else if (present == rollouts_.end() || !SameButForWhatIsObserved(present->second, *entry)) {
      Notify(key, *entry);
      entry->updated = now;
      batch.states[{key.ns, key.name}] = ToStored(*entry);
    }
  }
  uint64_t generation = transaction.new_generation ? generation_ + 1 : generation_;
  if (transaction.new_generation) batch.generation = store::GenerationMark{generation, ToHex(digest)};
  if (Status status = store_.Commit(batch); !status.ok()) {
    ++commit_failures_;
    LogError("the state could not be written; nothing was changed", {{"error", status}});
    return status;
  }

  generation_ = generation;
  digest_ = digest;
  if (transaction.compiler) compiler_ = *std::move(transaction.compiler);
  for (const auto& [key, revision] : transaction.revisions)
    objects_.rollouts.at(key).spec.revision = revision;
  for (auto& [key, yaml] : transaction.yaml) {
    if (key.kind != kRollout) continue;
    if (yaml) {
      yaml_[key] = *std::move(yaml);
    } else {
      yaml_.erase(key);
    }
  }
  for (auto& [service, compiled] : transaction.frontends) {
    if (compiled.empty()) {
      frontends_.erase(service);
    } else {
      frontends_[service] = std::move(compiled);
    }
  }
  for (auto& [key, entry] : transaction.rollouts) {
    if (entry) {
      rollouts_[key] = *std::move(entry);
      parked_.erase(key);
    } else if (auto gone = rollouts_.extract(key); !gone.empty() && origin_ == model::Origin::kCluster) {
      parked_.insert_or_assign(key, std::move(gone.mapped()));
    }
  }
  for (const auto& [key, text] : transaction.notes) {
    LogInfo("rollout", {{"name", model::ToString(key)}, {"note", text}, {"generation", generation_}});
    listener_.OnNote(key, text);
  }
  if (transaction.new_generation) listener_.OnPublished(generation_, total);
  for (const auto& [key, entry] : transaction.rollouts) listener_.OnRolloutChanged(key);
  for (const auto& [key, effect] : transaction.analyses) listener_.OnAnalysis(key, effect);
  return OkStatus();
}

Status Core::Feed(const ObjectKey& rollout, const engine::Event& event) {
  Transaction transaction;
  RolloutEntry* entry = EntryOf(transaction, rollout);
  if (entry == nullptr) return NotFound("no rollout {}", model::ToString(rollout));
  if (std::holds_alternative<engine::Tick>(event) && entry->wake && *entry->wake <= Now())
    entry->wake.reset();
  Step(transaction, rollout, event);
  if (transaction.rejected) {
    return FailedPrecondition("rollout {}: {}", model::ToString(rollout), *transaction.rejected);
  }
  return Commit(std::move(transaction));
}

Result<std::map<std::string, uint32_t>> Core::NumberNodes(const std::vector<std::string>& names) {
  std::set<uint32_t> used;
  for (const auto& [name, number] : nodes_) used.insert(number);
  std::map<std::string, uint32_t> numbers;
  store::Batch batch;
  uint32_t next = 0;
  auto taken = used.begin();
  for (const auto& name : names) {
    for (; taken != used.end() && *taken == next; ++taken) ++next;
    numbers[name] = next;
    batch.nodes[name] = next++;
  }
  if (Status status = store_.Commit(batch); !status.ok()) {
    ++commit_failures_;
    return status;
  }
  nodes_.insert(numbers.begin(), numbers.end());
  return numbers;
}

Status Core::ForgetNode(const std::string& name) {
  store::Batch batch;
  batch.nodes[name] = std::nullopt;
  RETURN_IF_ERROR(store_.Commit(batch));
  nodes_.erase(name);
  return OkStatus();
}

Status Core::SkipBeyond(uint64_t held) {
  if (held <= generation_ || held >= kMaxGenerationHeld) return OkStatus();
  store::Batch batch;
  batch.generation = store::GenerationMark{held + 1, ToHex(digest_)};
  RETURN_IF_ERROR(store_.Commit(batch));
  generation_ = held + 1;
  return OkStatus();
}

std::optional<engine::TimePoint> Core::NextWake() const {
  std::optional<engine::TimePoint> next;
  for (const auto& [key, entry] : rollouts_) {
    if (entry.wake && (!next || *entry.wake < *next)) next = entry.wake;
  }
  return next;
}

std::vector<ObjectKey> Core::Due() const {
  std::vector<ObjectKey> due;
  for (const auto& [key, entry] : rollouts_) {
    if (entry.wake && *entry.wake <= Now()) due.push_back(key);
  }
  return due;
}

}  // namespace weir::app
