// The rules between objects. One pass over each kind: linear in what there is, but for the log of the maps.
#include <fmt/format.h>

#include <algorithm>

#include "controller/analysis/metric.h"
#include "controller/model/analysis_request.h"
#include "controller/model/manifest.h"
#include "controller/model/vip_index.h"
#include "controller/model/yaml_reader.h"

namespace weir::model {
namespace {

std::string ToText(const Dialled& dialled) {
  return fmt::format("{}/{}", ToString(SocketAddress{dialled.address, dialled.port}),
                     ProtocolName(dialled.protocol));
}

std::string_view FamilyName(AddressFamily family) { return family == AddressFamily::kIPv4 ? "IPv4" : "IPv6"; }

class Checker {
 public:
  /// `vips` of these objects.
  Checker(const ObjectSet& objects, const VipIndex& vips) : objects_(objects), vips_(vips) {}

  Status CheckAll() {
    for (const auto& [key, service] : objects_.services) CheckService(service);
    for (const auto& [key, slice] : objects_.slices) CheckSlice(slice);
    for (const auto& [key, rollout] : objects_.rollouts) CheckRollout(rollout);
    for (const auto& [key, split] : objects_.splits) CheckSplit(split);
    return Verdict();
  }

  Status CheckSlices(const std::vector<ObjectKey>& keys) {
    for (const ObjectKey& key : keys) {
      const auto slice = objects_.slices.find(key);
      if (slice != objects_.slices.end()) CheckSlice(slice->second);
    }
    return Verdict();
  }

 private:
  static constexpr size_t kMaxErrors = 1000;

  Status Verdict() {
    if (count_ == 0) return OkStatus();
    if (count_ > kMaxErrors) {
      text_ += fmt::format("\nfound {} errors more, expected none; mend these first", count_ - kMaxErrors);
    }
    return Status(absl::StatusCode::kInvalidArgument, text_);
  }

  void Add(std::string_view kind, const ObjectKey& key, std::string_view field, std::string_view complaint) {
    if (++count_ > kMaxErrors) return;
    text_ += fmt::format("{}{} {}: {}: {}", text_.empty() ? "" : "\n", kind, ToString(key), field, complaint);
  }

  void CheckService(const Service& service) {
    for (const IpAddress& address : service.cluster_ips) {
      for (const ServicePort& port : service.ports) {
        const Dialled dialled{address, port.port, port.protocol};
        const ObjectKey* owner = vips_.at(dialled);
        if (owner == &service.key) continue;
        Add("Service", service.key, "spec.clusterIP",
            Complaint(fmt::format("{}, which Service {} has too", ToText(dialled), ToString(*owner)),
                      "an address and port that no other Service has", "choose another clusterIP or port"));
      }
    }
  }

  void CheckSlice(const EndpointSlice& slice) {
    for (size_t i = 0; i < slice.endpoints.size(); ++i) {
      for (const SlicePort& port : slice.ports) {
        const Dialled dialled{slice.endpoints[i].address, port.port, port.protocol};
        const auto vip = vips_.find(dialled);
        if (vip == vips_.end()) continue;
        Add("EndpointSlice", slice.key, fmt::format("endpoints[{}].addresses[0]", i),
            Complaint(fmt::format("{}, which is the address of Service {} itself (a loop)", ToText(dialled),
                                  ToString(*vip->second)),
                      "the address and port of a server", "give the server's own address"));
      }
    }
    // A slice may come before its Service.
    const auto service = objects_.services.find(ObjectKey{slice.key.ns, slice.service});
    if (service == objects_.services.end()) return;
    for (const IpAddress& address : service->second.cluster_ips) {
      if (address.family() == slice.family) return;
    }
    Add("EndpointSlice", slice.key, "addressType",
        Complaint(fmt::format("{}, but Service {} has no {} address (mixed address families)",
                              FamilyName(slice.family), ToString(service->first), FamilyName(slice.family)),
                  "endpoints of a family that clients dial",
                  fmt::format(
                      "add an {} address to spec.clusterIPs of the Service, or give endpoints of its family",
                      FamilyName(slice.family))));
  }

  void CheckExists(std::string_view kind, const ObjectKey& key, std::string_view field,
                   const std::string& service) {
    if (objects_.services.contains(ObjectKey{key.ns, service})) return;
    Add(kind, key, field,
        Complaint(fmt::format("the unknown Service {}/{}", key.ns, service),
                  "the name of a Service in the same namespace",
                  "apply the Service with it, or correct the name"));
  }

  void CheckRollout(const Rollout& rollout) {
    CheckExists("Rollout", rollout.key, "spec.service", rollout.service);
    CheckOwner("Rollout", rollout.key, "spec.service", rollout.service);
    if (!rollout.preview_service.empty()) CheckPreview(rollout);
    CheckAnalyses(rollout);
  }

  void CheckAnalyses(const Rollout& rollout) {
    const bool canary = !rollout.spec.blue_green;
    for (size_t i = 0; i < rollout.spec.steps.size(); ++i) {
      const auto* analysis = std::get_if<engine::Analysis>(&rollout.spec.steps[i]);
      if (analysis == nullptr) continue;
      CheckAnalysis(rollout,
                    canary ? fmt::format("spec.strategy.canary.steps[{}].analysis", i)
                           : "spec.strategy.blueGreen.prePromotionAnalysis",
                    *analysis, /*background=*/false);
    }
    if (rollout.spec.background)
      CheckAnalysis(rollout, "spec.strategy.canary.analysis", rollout.spec.background->analysis, true);
    if (!canary && rollout.spec.blue_green->post_promotion) {
      CheckAnalysis(rollout, "spec.strategy.blueGreen.postPromotionAnalysis",
                    *rollout.spec.blue_green->post_promotion, false);
    }
  }

  /// All that can be known of a run before there is one: which metrics it has.
  void CheckAnalysis(const Rollout& rollout, std::string_view field, const engine::Analysis& analysis,
                     bool background) {
    analysis::RunRequest request = RequestOf(analysis);
    request.background = background;
    request.stable = "stable";
    request.latest = "latest";
    const auto metrics = analysis::ResolveRun(request, TemplatesOf(objects_, rollout.key.ns));
    if (!metrics.ok()) return Add("Rollout", rollout.key, field, Message(metrics.status()));
    for (const analysis::Metric& metric : *metrics) {
      const auto* weir = std::get_if<analysis::WeirQuery>(&metric.provider);
      if (weir == nullptr || weir->measure == analysis::Measure::kFailedConnects) continue;
      if (AnyHttp({rollout.key.ns, rollout.service})) continue;
      return Add(
          "Rollout", rollout.key, field,
          Complaint(fmt::format("metric {} over Service {}/{}, whose requests are not counted", metric.name,
                                rollout.key.ns, rollout.service),
                    "a Service that asks for HTTP",
                    "give its port appProtocol: http, or the Service the annotation weir.dev/l7: http"));
    }
  }

  /// True for a Service that is missing, which is a complaint of its own.
  bool AnyHttp(const ObjectKey& key) const {
    const auto service = objects_.services.find(key);
    return service == objects_.services.end() ||
           std::ranges::any_of(service->second.ports, &ServicePort::http);
  }

  void CheckPreview(const Rollout& rollout) {
    constexpr std::string_view kField = "spec.strategy.blueGreen.previewService";
    CheckExists("Rollout", rollout.key, kField, rollout.preview_service);
    CheckOwner("Rollout", rollout.key, kField, rollout.preview_service);
    const auto preview = objects_.services.find(ObjectKey{rollout.key.ns, rollout.preview_service});
    const auto active = objects_.services.find(ObjectKey{rollout.key.ns, rollout.service});
    if (preview == objects_.services.end() || active == objects_.services.end()) return;
    for (const ServicePort& port : preview->second.ports) {
      const auto same = [&port](const ServicePort& other) {
        return other.name == port.name && other.protocol == port.protocol;
      };
      if (std::ranges::any_of(active->second.ports, same)) continue;
      Add("Rollout", rollout.key, kField,
          Complaint(fmt::format("Service {} with a port {} ({}), which Service {} has not",
                                ToString(preview->first), Quote(port.name), ProtocolName(port.protocol),
                                ToString(active->first)),
                    "ports of the same names", "name the port as the active Service does"));
    }
  }

  void CheckSplit(const TrafficSplit& split) {
    CheckExists("TrafficSplit", split.key, "spec.service", split.service);
    CheckOwner("TrafficSplit", split.key, "spec.service", split.service);
    for (size_t i = 0; i < split.backends.size(); ++i) {
      CheckExists("TrafficSplit", split.key, fmt::format("spec.backends[{}].service", i),
                  split.backends[i].service);
    }
  }

  /// One object divides a Service.
  void CheckOwner(std::string_view kind, const ObjectKey& key, std::string_view field,
                  const std::string& service) {
    const auto [owner, is_new] = owners_.emplace(ObjectKey{key.ns, service}, Owner{kind, &key});
    if (is_new) return;
    Add(kind, key, field,
        Complaint(fmt::format("Service {}/{}, which {} {} divides already", key.ns, service,
                              owner->second.kind, ToString(*owner->second.key)),
                  "a Service that no other Rollout or TrafficSplit divides", "remove one of the two"));
  }

  struct Owner {
    std::string_view kind;
    const ObjectKey* key;
  };

  const ObjectSet& objects_;
  const VipIndex& vips_;
  std::map<ObjectKey, Owner> owners_;
  std::string text_;
  size_t count_ = 0;
};

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

Status ValidateSet(const ObjectSet& objects) { return Checker(objects, MakeVipIndex(objects)).CheckAll(); }

Status ValidateSlices(const ObjectSet& objects, const VipIndex& vips, const std::vector<ObjectKey>& slices) {
  return Checker(objects, vips).CheckSlices(slices);
}

}  // namespace weir::model
