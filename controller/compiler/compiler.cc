#include "controller/compiler/compiler.h"

#include <algorithm>
#include <set>
#include <utility>

namespace weir::compiler {
namespace {

using model::EndpointSlice;
using model::EndpointState;
using model::ObjectKey;
using model::ObjectSet;
using model::Service;
using model::ServicePort;

// Two labels name a revision; a Service that nobody divides has no Rollout to say which.
constexpr std::string_view kDefaultRevisionLabel = "pod-template-hash";

using Slices = std::vector<const EndpointSlice*>;

struct Candidate {
  SocketAddress address;
  EndpointState state;
};

/// A variant before it is known whether terminating endpoints are needed.
struct Draft {
  std::string revision;
  v1::Role role;
  uint32_t weight;
  std::vector<Candidate> candidates;  // sorted by address, each once, with its best state
};

v1::Protocol ToWire(Protocol protocol) {
  return protocol == Protocol::kTcp ? v1::PROTOCOL_TCP : v1::PROTOCOL_UDP;
}

/// Sorts by address; of one address given several times the best state stays.
void SortAndMerge(std::vector<Candidate>& candidates) {
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return a.address != b.address ? a.address < b.address : a.state < b.state;
  });
  candidates.erase(std::unique(candidates.begin(), candidates.end(),
                               [](const Candidate& a, const Candidate& b) { return a.address == b.address; }),
                   candidates.end());
}

/// Endpoints of `slices` that serve the Service port (by its name and protocol), of one family.
template <typename Wanted>
std::vector<Candidate> Collect(const Slices& slices, AddressFamily family, const ServicePort& port,
                               Wanted wanted) {
  std::vector<Candidate> found;
  for (const EndpointSlice* slice : slices) {
    if (slice->family != family || !wanted(*slice)) continue;
    for (const model::SlicePort& slice_port : slice->ports) {
      if (slice_port.name != port.name || slice_port.protocol != port.protocol) continue;
      for (const model::Endpoint& endpoint : slice->endpoints) {
        found.push_back({{endpoint.address, slice_port.port}, endpoint.state});
      }
    }
  }
  SortAndMerge(found);
  return found;
}

bool HasState(const Draft& draft, EndpointState state) {
  return std::any_of(draft.candidates.begin(), draft.candidates.end(),
                     [state](const Candidate& candidate) { return candidate.state == state; });
}

/// KEP-1669: while one ready endpoint can be chosen, only ready ones are; without any, terminating ones serve
/// on. A variant of weight 0 is never chosen, so its ready endpoints do not count. Where each variant keeps
/// its share, others' ready endpoints are none of its business.
void AddVariants(const std::vector<Draft>& drafts, bool keep_shares, v1::Frontend& frontend) {
  const bool any_ready = !keep_shares && std::any_of(drafts.begin(), drafts.end(), [](const Draft& draft) {
    return draft.weight > 0 && HasState(draft, EndpointState::kReady);
  });
  for (const Draft& draft : drafts) {
    v1::Variant& variant = *frontend.add_variants();
    variant.set_revision(draft.revision);
    variant.set_role(draft.role);
    variant.set_weight(draft.weight);
    const bool ready = any_ready || HasState(draft, EndpointState::kReady);
    const EndpointState serving = ready ? EndpointState::kReady : EndpointState::kTerminating;
    for (const Candidate& candidate : draft.candidates) {
      if (candidate.state != serving) continue;
      v1::Endpoint& endpoint = *variant.add_endpoints();
      endpoint.set_address(candidate.address.address.ToBytes());
      endpoint.set_port(candidate.address.port);
    }
  }
}

/// While one has endpoints, those that have none have no weight.
void SkipEmpty(v1::Frontend& frontend) {
  const auto has_some = [](const v1::Variant& variant) { return variant.endpoints_size() > 0; };
  if (std::none_of(frontend.variants().begin(), frontend.variants().end(), has_some)) return;
  for (v1::Variant& variant : *frontend.mutable_variants()) {
    if (!has_some(variant)) variant.set_weight(0);
  }
}

/// What exists and is no variant's choice now. `all`: every endpoint of the port, whatever its revision.
void AddLingering(const std::vector<Candidate>& all, v1::Frontend& frontend) {
  std::set<std::pair<std::string, uint32_t>> chosen;
  for (const v1::Variant& variant : frontend.variants()) {
    for (const v1::Endpoint& endpoint : variant.endpoints())
      chosen.emplace(endpoint.address(), endpoint.port());
  }
  for (const Candidate& candidate : all) {
    std::string address = candidate.address.address.ToBytes();
    if (chosen.contains({address, candidate.address.port})) continue;
    v1::Endpoint& endpoint = *frontend.add_lingering();
    endpoint.set_address(std::move(address));
    endpoint.set_port(candidate.address.port);
  }
  frontend.set_endpoints_known(true);
}

std::string CommonRevision(const Slices& slices) {
  std::string revision;
  for (size_t i = 0; i < slices.size(); ++i) {
    std::string found = slices[i]->Revision(kDefaultRevisionLabel);
    if (i > 0 && found != revision) return "";
    revision = std::move(found);
  }
  return revision;
}

const ServicePort* PortByNumber(const Service& service, uint16_t number, Protocol protocol) {
  for (const ServicePort& port : service.ports) {
    if (port.port == number && port.protocol == protocol) return &port;
  }
  return nullptr;
}

bool AnySlice(const EndpointSlice&) { return true; }

Draft DraftOfRevision(const model::Rollout& rollout, const std::string& revision, v1::Role role,
                      uint32_t weight, const Slices& slices, AddressFamily family, const ServicePort& port) {
  const auto belongs = [&](const EndpointSlice& slice) {
    return slice.Revision(rollout.revision_label) == revision;
  };
  return {revision, role, weight, Collect(slices, family, port, belongs)};
}

std::vector<Draft> DraftsOfRollout(const model::Rollout& rollout, const RolloutWeights& published,
                                   const Slices& slices, AddressFamily family, const ServicePort& port) {
  std::vector<Draft> drafts;
  if (published.stable.empty()) return drafts;
  const bool canary = !rollout.spec.blue_green;
  const auto add = [&](const std::string& revision, v1::Role role, uint32_t weight) {
    if (revision.empty()) return;
    drafts.push_back(DraftOfRevision(rollout, revision, role, weight, slices, family, port));
  };
  add(published.stable, canary ? v1::ROLE_STABLE : v1::ROLE_ACTIVE, published.stable_weight);
  add(published.canary, canary ? v1::ROLE_CANARY : v1::ROLE_PREVIEW, published.canary_weight);
  add(published.previous, v1::ROLE_PREVIOUS, 0);
  return drafts;
}

/// The preview Service leads to the newest revision: the one being rolled out, else the active one. The role
/// says which, as agents report often on one that is on trial.
std::vector<Draft> DraftsOfPreview(const model::Rollout& rollout, const RolloutWeights& published,
                                   const Slices& slices, AddressFamily family, const ServicePort& port) {
  const std::string& revision = published.canary.empty() ? published.stable : published.canary;
  if (revision.empty()) return {};
  const v1::Role role = published.canary.empty() ? v1::ROLE_ACTIVE : v1::ROLE_PREVIEW;
  return {DraftOfRevision(rollout, revision, role, 1, slices, family, port)};
}

/// What nodes do by themselves for a Rollout's Service.
void AddSafety(const model::Rollout& rollout, const RolloutWeights& published, const Options& options,
               v1::Frontend& frontend) {
  const model::Safety& safety = rollout.safety;
  if (safety.leave_out_after > 0 && frontend.key().protocol() == v1::PROTOCOL_TCP) {
    v1::PassiveHealth& health = *frontend.mutable_passive_health();
    health.set_consecutive_failures(safety.leave_out_after);
    health.set_base_ms(static_cast<uint64_t>(safety.leave_out_base.count()));
    health.set_max_ms(static_cast<uint64_t>(safety.leave_out_max.count()));
  }
  if (published.canary.empty() || published.canary_weight == 0) return;
  const bool never = safety.fail_safe_after.count() == 0;
  if (never && safety.trip_after == 0) return;
  v1::FailSafe& fail_safe = *frontend.mutable_fail_safe();
  fail_safe.set_stable_revision(published.stable);
  if (!never)
    fail_safe.set_after_ms(static_cast<uint64_t>(std::max(safety.fail_safe_after, options.silence).count()));
  fail_safe.set_trip_after(safety.trip_after);
  fail_safe.set_round(published.round);
}

/// All but the variants.
v1::Frontend FrontendOf(const Service& service, const IpAddress& vip, const ServicePort& port) {
  v1::Frontend frontend;
  frontend.mutable_key()->set_address(vip.ToBytes());
  frontend.mutable_key()->set_port(port.port);
  frontend.mutable_key()->set_protocol(ToWire(port.protocol));
  frontend.set_namespace_(service.key.ns);
  frontend.set_service(service.key.name);
  frontend.set_port_name(port.name);
  if (service.client_ip_affinity) {
    frontend.set_affinity_timeout_seconds(static_cast<uint32_t>(service.client_ip_affinity->count()));
  }
  frontend.set_http(port.http);
  return frontend;
}

}  // namespace

std::string ToKey(const v1::FrontendKey& key) {
  std::string text = key.address();
  text.push_back(static_cast<char>(key.port() >> 8));
  text.push_back(static_cast<char>(key.port() & 0xff));
  text.push_back(static_cast<char>(key.protocol()));
  // Everybody's comes first.
  for (int shift = 24; shift >= 0; shift -= 8)
    text.push_back(static_cast<char>(key.consumers() >> shift & 0xff));
  return text;
}

void Compiler::Index(const ObjectSet& objects) {
  slices_of_.clear();
  rollout_of_.clear();
  previewed_by_.clear();
  preview_of_.clear();
  divisions_.clear();
  roots_of_backend_.clear();
  for (const auto& [key, slice] : objects.slices) slices_of_[{key.ns, slice.service}].push_back(key);
  for (const auto& [key, rollout] : objects.rollouts) {
    rollout_of_.try_emplace(ObjectKey{key.ns, rollout.service}, key);
    if (rollout.preview_service.empty()) continue;
    const ObjectKey preview{key.ns, rollout.preview_service};
    if (previewed_by_.try_emplace(preview, key).second)
      preview_of_.try_emplace(ObjectKey{key.ns, rollout.service}, preview);
  }
  divisions_ = model::ClaimsOf(objects).divisions;
  for (const auto& [root, division] : divisions_) {
    std::set<ObjectKey> backends;
    const auto take = [&backends](const model::DrivenSplit& split) {
      for (const model::DrivenBackend& backend : split.backends) backends.insert(backend.service);
    };
    if (division.whole) take(*division.whole);
    for (const auto& [port, split] : division.tcp) take(split);
    for (const auto& [ns, ports] : division.consumers) {
      for (const auto& [port, split] : ports) take(split);
    }
    for (const ObjectKey& backend : backends) roots_of_backend_.emplace(backend, root);
  }
}

void Compiler::IndexSlice(const ObjectKey& slice, const std::string* before, const std::string* after) {
  if (before != nullptr) {
    const auto owner = slices_of_.find({slice.ns, *before});
    if (owner != slices_of_.end()) std::erase(owner->second, slice);
    if (owner != slices_of_.end() && owner->second.empty()) slices_of_.erase(owner);
  }
  if (after == nullptr) return;
  std::vector<ObjectKey>& slices = slices_of_[{slice.ns, *after}];
  // In the order of Index(), so that what is compiled does not depend on how it came about.
  const auto place = std::lower_bound(slices.begin(), slices.end(), slice);
  if (place == slices.end() || *place != slice) slices.insert(place, slice);
}

std::vector<ObjectKey> Compiler::Dependents(const ObjectKey& service) const {
  std::vector<ObjectKey> dependents{service};
  const auto [begin, end] = roots_of_backend_.equal_range(service);
  for (auto it = begin; it != end; ++it) {
    if (it->second != service) dependents.push_back(it->second);
  }
  if (const auto preview = preview_of_.find(service); preview != preview_of_.end()) {
    dependents.push_back(preview->second);
  }
  return dependents;
}

Frontends Compiler::Compile(const ObjectSet& objects, const std::map<ObjectKey, RolloutWeights>& weights) {
  Index(objects);
  Frontends frontends;
  for (const auto& [key, service] : objects.services) {
    frontends.merge(CompileService(objects, weights, key));
  }
  return frontends;
}

Slices Compiler::SlicesOf(const ObjectSet& objects, const ObjectKey& service) const {
  Slices slices;
  const auto it = slices_of_.find(service);
  if (it == slices_of_.end()) return slices;
  for (const ObjectKey& slice_key : it->second) {
    const auto slice = objects.slices.find(slice_key);
    if (slice != objects.slices.end()) slices.push_back(&slice->second);
  }
  return slices;
}

Compiler::Owners Compiler::OwnersOf(const ObjectSet& objects, const ObjectKey& service) const {
  const auto find_in = [&service](const auto& index, const auto& map) -> decltype(&map.begin()->second) {
    const auto named = index.find(service);
    if (named == index.end()) return nullptr;
    const auto it = map.find(named->second);
    return it == map.end() ? nullptr : &it->second;
  };
  const auto division = divisions_.find(service);
  return {find_in(rollout_of_, objects.rollouts), find_in(previewed_by_, objects.rollouts),
          division == divisions_.end() ? nullptr : &division->second};
}

std::string Compiler::SourceOf(const ObjectKey& service, const ServicePort& port,
                               const std::string& consumer_namespace) const {
  const auto division = divisions_.find(service);
  if (division == divisions_.end()) return "";
  const model::DrivenSplit* split = consumer_namespace.empty()
                                        ? division->second.Of(port)
                                        : division->second.OwnOf(consumer_namespace, port);
  return split == nullptr ? "" : split->source;
}

/// One level: a backend that is divided itself is not followed.
v1::Frontend Compiler::CompileDriven(const ObjectSet& objects, const model::DrivenSplit& split,
                                     const ServicePort& port, AddressFamily family,
                                     v1::Frontend frontend) const {
  std::vector<Draft> drafts;
  for (const model::DrivenBackend& backend : split.backends) {
    Draft draft{backend.name, v1::ROLE_BACKEND, backend.weight, {}};
    const auto service = backend.resolved ? objects.services.find(backend.service) : objects.services.end();
    const ServicePort* target =
        service == objects.services.end()
            ? nullptr
            : PortByNumber(service->second, backend.port.value_or(port.port), port.protocol);
    if (target != nullptr)
      draft.candidates = Collect(SlicesOf(objects, backend.service), family, *target, AnySlice);
    drafts.push_back(std::move(draft));
  }
  const bool keep_shares = split.empty == model::EmptyBackend::kRefuseShare;
  if (keep_shares) frontend.set_on_empty(v1::ON_EMPTY_REFUSE_SHARE);
  AddVariants(drafts, keep_shares, frontend);
  if (!keep_shares) SkipEmpty(frontend);
  return frontend;
}

void Compiler::CompileConsumers(const ObjectSet& objects, const model::Division& division,
                                const ServicePort& port, const v1::Frontend& blank, v1::Frontend& everybodys,
                                Frontends& frontends) const {
  const auto family = IpAddress::FromBytes(blank.key().address())->family();
  for (const auto& [ns, ports] : division.consumers) {
    const model::DrivenSplit* split = division.OwnOf(ns, port);
    if (split == nullptr) continue;
    v1::Frontend frontend = blank;
    frontend.mutable_key()->set_consumers(model::ConsumersNumber(ns));
    frontend.set_consumer_namespace(ns);
    frontend = CompileDriven(objects, *split, port, family, std::move(frontend));
    everybodys.set_has_consumers(true);
    std::string text = ToKey(frontend.key());
    frontends.try_emplace(std::move(text), std::move(frontend));
  }
}

Frontends Compiler::CompileService(const ObjectSet& objects,
                                   const std::map<ObjectKey, RolloutWeights>& weights, const ObjectKey& key) {
  Frontends frontends;
  const auto service_it = objects.services.find(key);
  if (service_it == objects.services.end()) return frontends;
  const Service& service = service_it->second;
  const Owners owners = OwnersOf(objects, key);
  const auto published = [&weights](const model::Rollout& rollout) {
    const auto it = weights.find(rollout.key);
    return it == weights.end() ? RolloutWeights{} : it->second;
  };

  const auto drafts_for = [&](AddressFamily family, const ServicePort& port) -> std::vector<Draft> {
    if (const model::Rollout* rollout = owners.rollout) {
      return DraftsOfRollout(*rollout, published(*rollout), SlicesOf(objects, key), family, port);
    }
    if (const model::Rollout* rollout = owners.previews) {
      const Slices slices = SlicesOf(objects, {key.ns, rollout->service});
      return DraftsOfPreview(*rollout, published(*rollout), slices, family, port);
    }
    const Slices slices = SlicesOf(objects, key);
    std::vector<Draft> drafts;
    drafts.push_back({CommonRevision(slices), v1::ROLE_STABLE, 1, Collect(slices, family, port, AnySlice)});
    return drafts;
  };

  // Whose endpoints these are.
  const ObjectKey source = owners.rollout == nullptr && owners.previews != nullptr
                               ? ObjectKey{key.ns, owners.previews->service}
                               : key;
  for (const IpAddress& vip : service.cluster_ips) {
    for (const ServicePort& port : service.ports) {
      v1::Frontend frontend = FrontendOf(service, vip, port);
      frontend.set_on_empty(options_.on_empty);
      const v1::Frontend blank = frontend;
      const model::DrivenSplit* split = owners.division == nullptr ? nullptr : owners.division->Of(port);
      if (split != nullptr) {
        // A backend that is named no more is not gone: here, not all endpoints are known.
        frontend = CompileDriven(objects, *split, port, vip.family(), std::move(frontend));
      } else {
        AddVariants(drafts_for(vip.family(), port), /*keep_shares=*/false, frontend);
        AddLingering(Collect(SlicesOf(objects, source), vip.family(), port, AnySlice), frontend);
      }
      if (owners.rollout != nullptr)
        AddSafety(*owners.rollout, published(*owners.rollout), options_, frontend);
      if (owners.division != nullptr)
        CompileConsumers(objects, *owners.division, port, blank, frontend, frontends);
      std::string text = ToKey(frontend.key());
      frontends.try_emplace(std::move(text), std::move(frontend));
    }
  }
  return frontends;
}

Difference Diff(const Frontends& before, const Frontends& after) {
  Difference difference;
  auto old_it = before.begin();
  auto new_it = after.begin();
  while (old_it != before.end() || new_it != after.end()) {
    const bool only_old = new_it == after.end() || (old_it != before.end() && old_it->first < new_it->first);
    const bool only_new = old_it == before.end() || (new_it != after.end() && new_it->first < old_it->first);
    if (only_old) {
      difference.removals.push_back((old_it++)->second.key());
    } else if (only_new) {
      difference.upserts.push_back((new_it++)->second);
    } else {
      // A Frontend has no map fields: equal messages have equal bytes.
      if (old_it->second.SerializeAsString() != new_it->second.SerializeAsString()) {
        difference.upserts.push_back(new_it->second);
      }
      ++old_it;
      ++new_it;
    }
  }
  return difference;
}

std::map<std::string, RevisionEndpoints> CountEndpoints(const ObjectSet& objects,
                                                        const model::Rollout& rollout) {
  std::map<std::string, RevisionEndpoints> counts;
  const auto service = objects.services.find({rollout.key.ns, rollout.service});
  if (service == objects.services.end()) return counts;

  std::map<std::string, Slices> slices;
  for (auto it = objects.slices.lower_bound({rollout.key.ns, ""});
       it != objects.slices.end() && it->first.ns == rollout.key.ns; ++it) {
    if (it->second.service != rollout.service) continue;
    slices[it->second.Revision(rollout.revision_label)].push_back(&it->second);
  }
  for (const auto& [revision, members] : slices) {
    RevisionEndpoints& count = counts[revision];
    // The same endpoints are listed once per family and port: the fullest list tells how many there are.
    for (const IpAddress& vip : service->second.cluster_ips) {
      for (const ServicePort& port : service->second.ports) {
        const std::vector<Candidate> found = Collect(members, vip.family(), port, AnySlice);
        const auto ready = std::count_if(found.begin(), found.end(), [](const Candidate& candidate) {
          return candidate.state == EndpointState::kReady;
        });
        count.ready = std::max(count.ready, static_cast<uint32_t>(ready));
        count.total = std::max(count.total, static_cast<uint32_t>(found.size()));
      }
    }
  }
  return counts;
}

}  // namespace weir::compiler
