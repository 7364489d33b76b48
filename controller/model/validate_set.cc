// The rules between objects over all of them. One pass over each kind: linear in what there is, but for the
// log of the maps.
#include <fmt/format.h>

#include "controller/model/claims.h"
#include "controller/model/manifest.h"
#include "controller/model/set_rules.h"
#include "controller/model/vip_index.h"
#include "controller/model/yaml_reader.h"

namespace weir::model {
namespace {

/// One line for each breach.
class Report {
 public:
  void Add(std::string_view kind, const ObjectKey& key, const std::vector<Breach>& breaches) {
    for (const Breach& breach : breaches) {
      if (++count_ > kMaxErrors) continue;
      text_ += fmt::format("{}{} {}: {}: {}", text_.empty() ? "" : "\n", kind, ToString(key), breach.field,
                           breach.text);
    }
  }

  Status Verdict() {
    if (count_ == 0) return OkStatus();
    if (count_ > kMaxErrors)
      text_ += fmt::format("\nfound {} errors more, expected none; mend these first", count_ - kMaxErrors);
    return Status(absl::StatusCode::kInvalidArgument, text_);
  }

 private:
  static constexpr size_t kMaxErrors = 1000;

  std::string text_;
  size_t count_ = 0;
};

/// What the status of a route would say in a cluster.
std::vector<Breach> BreachesOf(const Route& route, const RouteVerdict& verdict) {
  std::vector<Breach> breaches;
  for (const std::string& unsupported : route.unsupported) {
    const size_t colon = unsupported.find(": ");
    breaches.push_back({unsupported.substr(0, colon),
                        Complaint("what connect() cannot do", "it left out: " + unsupported.substr(colon + 2),
                                  "remove it")});
  }
  for (const auto& [index, accepted] : verdict.accepted) {
    const ParentRef& parent = route.parents[index];
    const std::string field = fmt::format("spec.parentRefs[{}]", index);
    if (parent.ns && *parent.ns != route.key.ns) {
      breaches.push_back(
          {field + ".namespace",
           Complaint(Quote(*parent.ns), "the route's own: only a cluster knows of what namespace a client is",
                     "write the route in that namespace")});
    } else if (!accepted.holds && route.unsupported.empty()) {
      breaches.push_back({field, accepted.message});
    }
  }
  if (!verdict.resolved_refs.holds)
    breaches.push_back({"spec.rules[0].backendRefs", verdict.resolved_refs.message});
  return breaches;
}

}  // namespace

VipIndex MakeVipIndex(const ObjectSet& objects) {
  VipIndex vips;
  for (const auto& [key, service] : objects.services) {
    for (const IpAddress& address : service.cluster_ips) {
      for (const ServicePort& port : service.ports)
        vips.emplace(Dialled{address, port.port, port.protocol}, &service.key);
    }
  }
  return vips;
}

Status ValidateSet(const ObjectSet& objects, Origin origin) {
  const VipIndex vips = MakeVipIndex(objects);
  SetRules rules(objects, vips, origin);
  Report report;
  for (const auto& [key, service] : objects.services) report.Add("Service", key, rules.Of(service));
  for (const auto& [key, slice] : objects.slices) report.Add("EndpointSlice", key, rules.Of(slice));
  for (const auto& [key, rollout] : objects.rollouts) {
    report.Add("Rollout", key, rules.Of(rollout));
    rules.Claim(rollout);
  }
  for (const auto& [key, split] : objects.splits) {
    report.Add("TrafficSplit", key, rules.Of(split));
    rules.Claim(split);
  }
  if (origin == Origin::kFiles && !objects.routes.empty()) {
    for (const auto& [id, verdict] : ClaimsOf(objects).routes)
      report.Add(NameOf(id.kind), id.key, BreachesOf(objects.routes.at(id), verdict));
  }
  return report.Verdict();
}

Status ValidateSlices(const ObjectSet& objects, const VipIndex& vips, const std::vector<ObjectKey>& slices) {
  const SetRules rules(objects, vips, Origin::kFiles);
  Report report;
  for (const ObjectKey& key : slices) {
    const auto slice = objects.slices.find(key);
    if (slice != objects.slices.end()) report.Add("EndpointSlice", key, rules.Of(slice->second));
  }
  return report.Verdict();
}

}  // namespace weir::model
