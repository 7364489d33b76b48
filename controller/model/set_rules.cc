#include "controller/model/set_rules.h"

#include <fmt/format.h>

#include <algorithm>

#include "controller/analysis/metric.h"
#include "controller/model/analysis_request.h"
#include "controller/model/yaml_reader.h"

namespace weir::model {
namespace {

std::string ToText(const Dialled& dialled) {
  return fmt::format("{}/{}", ToString(SocketAddress{dialled.address, dialled.port}),
                     ProtocolName(dialled.protocol));
}

std::string_view FamilyName(AddressFamily family) { return family == AddressFamily::kIPv4 ? "IPv4" : "IPv6"; }

}  // namespace

std::vector<Breach> SetRules::Of(const Service& service) const {
  Breaches breaches;
  for (const IpAddress& address : service.cluster_ips) {
    for (const ServicePort& port : service.ports) {
      const Dialled dialled{address, port.port, port.protocol};
      const auto owner = vips_.find(dialled);
      if (owner == vips_.end() || *owner->second == service.key) continue;
      breaches.push_back(
          {"spec.clusterIP",
           Complaint(fmt::format("{}, which Service {} has too", ToText(dialled), ToString(*owner->second)),
                     "an address and port that no other Service has", "choose another clusterIP or port")});
    }
  }
  return breaches;
}

std::vector<Breach> SetRules::Of(const EndpointSlice& slice) const {
  Breaches breaches;
  for (size_t i = 0; i < slice.endpoints.size(); ++i) {
    for (const SlicePort& port : slice.ports) {
      const Dialled dialled{slice.endpoints[i].address, port.port, port.protocol};
      const auto vip = vips_.find(dialled);
      if (vip == vips_.end()) continue;
      breaches.push_back({fmt::format("endpoints[{}].addresses[0]", i),
                          Complaint(fmt::format("{}, which is the address of Service {} itself (a loop)",
                                                ToText(dialled), ToString(*vip->second)),
                                    "the address and port of a server", "give the server's own address")});
    }
  }
  // A slice may come before its Service.
  const auto service = objects_.services.find(ObjectKey{slice.key.ns, slice.service});
  if (service == objects_.services.end() || service->second.cluster_ips.empty()) return breaches;
  for (const IpAddress& address : service->second.cluster_ips) {
    if (address.family() == slice.family) return breaches;
  }
  breaches.push_back(
      {"addressType",
       Complaint(
           fmt::format("{}, but Service {} has no {} address (mixed address families)",
                       FamilyName(slice.family), ToString(service->first), FamilyName(slice.family)),
           "endpoints of a family that clients dial",
           fmt::format("add an {} address to spec.clusterIPs of the Service, or give endpoints of its family",
                       FamilyName(slice.family)))});
  return breaches;
}

std::vector<Breach> SetRules::Of(const Rollout& rollout) const {
  Breaches breaches;
  CheckDivided(rollout.key, "spec.service", rollout.service, breaches);
  if (!rollout.preview_service.empty()) CheckPreview(rollout, breaches);
  // In a cluster a template may come later, or go: the run that wants it ends as Error then, and aborts. To
  // refuse the Rollout would give its Service's traffic to whatever is there.
  if (origin_ == Origin::kFiles) CheckAnalyses(rollout, breaches);
  return breaches;
}

std::vector<Breach> SetRules::Of(const TrafficSplit& split) const {
  Breaches breaches;
  CheckDivided(split.key, "spec.service", split.service, breaches);
  // In a cluster a backend comes and goes by itself: meanwhile the others have its share.
  if (origin_ == Origin::kCluster) return breaches;
  for (size_t i = 0; i < split.backends.size(); ++i)
    CheckExists(split.key, fmt::format("spec.backends[{}].service", i), split.backends[i].service, breaches);
  return breaches;
}

void SetRules::Claim(const Rollout& rollout) {
  ClaimService("Rollout", rollout.key, rollout.service);
  if (!rollout.preview_service.empty()) ClaimService("Rollout", rollout.key, rollout.preview_service);
}

void SetRules::Claim(const TrafficSplit& split) { ClaimService("TrafficSplit", split.key, split.service); }

void SetRules::ClaimService(std::string_view kind, const ObjectKey& object, const std::string& service) {
  owners_.try_emplace(ObjectKey{object.ns, service}, fmt::format("{} {}", kind, ToString(object)));
}

void SetRules::CheckExists(const ObjectKey& object, std::string_view field, const std::string& service,
                           Breaches& breaches) const {
  if (objects_.services.contains(ObjectKey{object.ns, service})) return;
  breaches.push_back(
      {std::string(field), Complaint(fmt::format("the unknown Service {}/{}", object.ns, service),
                                     "the name of a Service in the same namespace",
                                     "apply the Service with it, or correct the name")});
}

void SetRules::CheckDivided(const ObjectKey& object, std::string_view field, const std::string& service,
                            Breaches& breaches) const {
  CheckExists(object, field, service, breaches);
  const auto found = objects_.services.find(ObjectKey{object.ns, service});
  if (found != objects_.services.end() && found->second.cluster_ips.empty()) {
    breaches.push_back(
        {std::string(field),
         Complaint(fmt::format("the headless Service {}", ToString(found->first)),
                   "a Service with an address that clients dial",
                   "a headless Service has none, so nothing can be divided; give it an address")});
  }
  const auto owner = owners_.find(ObjectKey{object.ns, service});
  if (owner == owners_.end()) return;
  breaches.push_back(
      {std::string(field),
       Complaint(fmt::format("Service {}, which {} divides already", ToString(owner->first), owner->second),
                 "a Service that no other Rollout or TrafficSplit divides", "remove one of the two")});
}

void SetRules::CheckPreview(const Rollout& rollout, Breaches& breaches) const {
  constexpr std::string_view kField = "spec.strategy.blueGreen.previewService";
  CheckDivided(rollout.key, kField, rollout.preview_service, breaches);
  const auto preview = objects_.services.find(ObjectKey{rollout.key.ns, rollout.preview_service});
  const auto active = objects_.services.find(ObjectKey{rollout.key.ns, rollout.service});
  if (preview == objects_.services.end() || active == objects_.services.end()) return;
  for (const ServicePort& port : preview->second.ports) {
    const auto same = [&port](const ServicePort& other) {
      return other.name == port.name && other.protocol == port.protocol;
    };
    if (std::ranges::any_of(active->second.ports, same)) continue;
    breaches.push_back({std::string(kField),
                        Complaint(fmt::format("Service {} with a port {} ({}), which Service {} has not",
                                              ToString(preview->first), Quote(port.name),
                                              ProtocolName(port.protocol), ToString(active->first)),
                                  "ports of the same names", "name the port as the active Service does")});
  }
}

void SetRules::CheckAnalyses(const Rollout& rollout, Breaches& breaches) const {
  const bool canary = !rollout.spec.blue_green;
  for (size_t i = 0; i < rollout.spec.steps.size(); ++i) {
    const auto* analysis = std::get_if<engine::Analysis>(&rollout.spec.steps[i]);
    if (analysis == nullptr) continue;
    CheckAnalysis(rollout,
                  canary ? fmt::format("spec.strategy.canary.steps[{}].analysis", i)
                         : "spec.strategy.blueGreen.prePromotionAnalysis",
                  *analysis, /*background=*/false, breaches);
  }
  if (rollout.spec.background)
    CheckAnalysis(rollout, "spec.strategy.canary.analysis", rollout.spec.background->analysis, true,
                  breaches);
  if (!canary && rollout.spec.blue_green->post_promotion) {
    CheckAnalysis(rollout, "spec.strategy.blueGreen.postPromotionAnalysis",
                  *rollout.spec.blue_green->post_promotion, false, breaches);
  }
}

/// All that can be known of a run before there is one: which metrics it has.
void SetRules::CheckAnalysis(const Rollout& rollout, std::string_view field, const engine::Analysis& analysis,
                             bool background, Breaches& breaches) const {
  analysis::RunRequest request = RequestOf(analysis);
  request.background = background;
  request.stable = "stable";
  request.latest = "latest";
  const auto metrics = analysis::ResolveRun(request, TemplatesOf(objects_, rollout.key.ns));
  if (!metrics.ok()) {
    breaches.push_back({std::string(field), Message(metrics.status())});
    return;
  }
  for (const analysis::Metric& metric : *metrics) {
    const auto* weir = std::get_if<analysis::WeirQuery>(&metric.provider);
    if (weir == nullptr || weir->measure == analysis::Measure::kFailedConnects) continue;
    if (AnyHttp({rollout.key.ns, rollout.service})) continue;
    breaches.push_back(
        {std::string(field),
         Complaint(fmt::format("metric {} over Service {}/{}, whose requests are not counted", metric.name,
                               rollout.key.ns, rollout.service),
                   "a Service that asks for HTTP",
                   "give its port appProtocol: http, or the Service the annotation weir.dev/l7: http")});
    return;
  }
}

/// True for a Service that is missing, which is a complaint of its own.
bool SetRules::AnyHttp(const ObjectKey& service) const {
  const auto found = objects_.services.find(service);
  return found == objects_.services.end() || std::ranges::any_of(found->second.ports, &ServicePort::http);
}

}  // namespace weir::model
