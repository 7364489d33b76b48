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
/// on. A variant of weight 0 is never chosen, so its ready endpoints do not count.
void AddVariants(const std::vector<Draft>& drafts, v1::Frontend& frontend) {
  const bool any_ready = std::any_of(drafts.begin(), drafts.end(), [](const Draft& draft) {
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

std::string CommonRevision(const Slices& slices) {
  std::string revision;
  for (size_t i = 0; i < slices.size(); ++i) {
    std::string found = slices[i]->Revision(kDefaultRevisionLabel);
    if (i > 0 && found != revision) return "";
    revision = std::move(found);
  }
  return revision;
}

const ServicePort* PortByNumber(const Service& service, const ServicePort& wanted) {
  for (const ServicePort& port : service.ports) {
    if (port.port == wanted.port && port.protocol == wanted.protocol) return &port;
  }
  return nullptr;
}

bool AnySlice(const EndpointSlice&) { return true; }

}  // namespace

std::string ToKey(const v1::FrontendKey& key) {
  std::string text = key.address();
  text.push_back(static_cast<char>(key.port() >> 8));
  text.push_back(static_cast<char>(key.port() & 0xff));
  text.push_back(static_cast<char>(key.protocol()));
  return text;
}

void Compiler::Index(const ObjectSet& objects) {
  slices_of_.clear();
  rollout_of_.clear();
  split_of_.clear();
  roots_of_backend_.clear();
  for (const auto& [key, slice] : objects.slices) slices_of_[{key.ns, slice.service}].push_back(key);
  for (const auto& [key, rollout] : objects.rollouts) {
    rollout_of_.try_emplace(ObjectKey{key.ns, rollout.service}, key);
  }
  for (const auto& [key, split] : objects.splits) {
    const ObjectKey root{key.ns, split.service};
    if (!split_of_.try_emplace(root, key).second) continue;
    std::set<ObjectKey> backends;
    for (const model::Backend& backend : split.backends) backends.insert({key.ns, backend.service});
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

Frontends Compiler::CompileService(const ObjectSet& objects,
                                   const std::map<ObjectKey, RolloutWeights>& weights, const ObjectKey& key) {
  Frontends frontends;
  const auto service_it = objects.services.find(key);
  if (service_it == objects.services.end()) return frontends;
  const Service& service = service_it->second;

  const auto slices_of = [&](const ObjectKey& owner) {
    Slices slices;
    const auto it = slices_of_.find(owner);
    if (it == slices_of_.end()) return slices;
    for (const ObjectKey& slice_key : it->second) {
      const auto slice = objects.slices.find(slice_key);
      if (slice != objects.slices.end()) slices.push_back(&slice->second);
    }
    return slices;
  };
  const auto find_in = [&key](const auto& index, const auto& map) -> decltype(&map.begin()->second) {
    const auto named = index.find(key);
    if (named == index.end()) return nullptr;
    const auto it = map.find(named->second);
    return it == map.end() ? nullptr : &it->second;
  };
  const model::Rollout* rollout = find_in(rollout_of_, objects.rollouts);
  const model::TrafficSplit* split = find_in(split_of_, objects.splits);

  const auto drafts_for = [&](AddressFamily family, const ServicePort& port) {
    std::vector<Draft> drafts;
    if (rollout != nullptr) {
      const auto weight = weights.find(rollout->key);
      if (weight == weights.end() || weight->second.stable.empty()) return drafts;
      const RolloutWeights& published = weight->second;
      const Slices slices = slices_of(key);
      const auto add = [&](const std::string& revision, v1::Role role, uint32_t share) {
        const auto belongs = [&](const EndpointSlice& slice) {
          return slice.Revision(rollout->revision_label) == revision;
        };
        drafts.push_back({revision, role, share, Collect(slices, family, port, belongs)});
      };
      add(published.stable, v1::ROLE_STABLE, published.stable_weight);
      if (!published.canary.empty()) add(published.canary, v1::ROLE_CANARY, published.canary_weight);
      return drafts;
    }
    if (split != nullptr) {
      for (const model::Backend& backend : split->backends) {
        Draft draft{backend.service, v1::ROLE_BACKEND, backend.weight, {}};
        const ObjectKey backend_key{key.ns, backend.service};
        const auto it = objects.services.find(backend_key);
        const ServicePort* target = it == objects.services.end() ? nullptr : PortByNumber(it->second, port);
        if (target != nullptr) draft.candidates = Collect(slices_of(backend_key), family, *target, AnySlice);
        drafts.push_back(std::move(draft));
      }
      return drafts;
    }
    const Slices slices = slices_of(key);
    drafts.push_back({CommonRevision(slices), v1::ROLE_STABLE, 1, Collect(slices, family, port, AnySlice)});
    return drafts;
  };

  for (const IpAddress& vip : service.cluster_ips) {
    for (const ServicePort& port : service.ports) {
      v1::Frontend frontend;
      frontend.mutable_key()->set_address(vip.ToBytes());
      frontend.mutable_key()->set_port(port.port);
      frontend.mutable_key()->set_protocol(ToWire(port.protocol));
      frontend.set_namespace_(key.ns);
      frontend.set_service(key.name);
      frontend.set_port_name(port.name);
      if (service.client_ip_affinity) {
        frontend.set_affinity_timeout_seconds(static_cast<uint32_t>(service.client_ip_affinity->count()));
      }
      frontend.set_http(port.http);
      frontend.set_on_empty(options_.on_empty);
      AddVariants(drafts_for(vip.family(), port), frontend);
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
