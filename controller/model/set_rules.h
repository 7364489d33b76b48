// The rules between objects, asked of one object at a time. Private to the model.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "controller/engine/engine.h"
#include "controller/model/manifest.h"
#include "controller/model/objects.h"
#include "controller/model/vip_index.h"

namespace weir::model {

/// What is wrong with an object beside the others, by field.
struct Breach {
  std::string field, text;
};

class SetRules {
 public:
  /// `objects` and `vips` must outlive it; what is asked of need not be among them.
  SetRules(const ObjectSet& objects, const VipIndex& vips, Origin origin)
      : objects_(objects), vips_(vips), origin_(origin) {}

  // Empty: the object may be among the others, and those that have claimed.
  std::vector<Breach> Of(const Service& service) const;
  std::vector<Breach> Of(const EndpointSlice& slice) const;
  std::vector<Breach> Of(const Rollout& rollout) const;
  std::vector<Breach> Of(const TrafficSplit& split) const;

  // The Services it divides are its own from here on, unless another was first.
  void Claim(const Rollout& rollout);
  void Claim(const TrafficSplit& split);

 private:
  using Breaches = std::vector<Breach>;

  /// Exists, has an address and has no other owner.
  void CheckDivided(const ObjectKey& object, std::string_view field, const std::string& service,
                    Breaches& breaches) const;
  void CheckExists(const ObjectKey& object, std::string_view field, const std::string& service,
                   Breaches& breaches) const;
  void CheckPreview(const Rollout& rollout, Breaches& breaches) const;
  void CheckAnalyses(const Rollout& rollout, Breaches& breaches) const;
  void CheckAnalysis(const Rollout& rollout, std::string_view field, const engine::Analysis& analysis,
                     bool background, Breaches& breaches) const;
  bool AnyHttp(const ObjectKey& service) const;
  void ClaimService(std::string_view kind, const ObjectKey& object, const std::string& service);

  const ObjectSet& objects_;
  const VipIndex& vips_;
  const Origin origin_;
  std::map<ObjectKey, std::string> owners_;  // by Service: "Rollout shop/web"
};

}  // namespace weir::model
