// Objects from a few lines of YAML.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "controller/model/manifest.h"

namespace weir::model {

inline ObjectSet ReadObjects(std::string_view yaml) {
  const auto documents = ParseManifests(yaml, "f.yaml");
  ObjectSet set;
  if (documents.ok()) {
    for (const Document& document : *documents) set.Put(document.object);
  } else {
    ADD_FAILURE() << documents.status();
  }
  return set;
}

/// A Service of namespace shop with the ports http 80, admin 81 and, in UDP, dns 53.
inline std::string ServiceYaml(const std::string& name, const std::string& address,
                               const std::string& ns = "shop") {
  return "---\napiVersion: v1\nkind: Service\nmetadata: {name: " + name + ", namespace: " + ns +
         "}\nspec: {clusterIP: " + address +
         ", ports: [{name: http, port: 80}, {name: admin, port: 81}, {name: dns, port: 53, protocol: "
         "UDP}]}\n";
}

/// Metadata and spec in flow style, without their braces.
inline std::string RouteYaml(const std::string& kind, const std::string& metadata, const std::string& spec) {
  return "---\napiVersion: gateway.networking.k8s.io/v1\nkind: " + kind + "\nmetadata: {namespace: shop, " +
         metadata + "}\nspec: {" + spec + "}\n";
}

inline std::string SplitYaml(const std::string& metadata, const std::string& service,
                             const std::string& backends) {
  return "---\napiVersion: split.smi-spec.io/v1alpha4\nkind: TrafficSplit\nmetadata: {namespace: shop, " +
         metadata + "}\nspec: {service: " + service + ", backends: [" + backends + "]}\n";
}

inline std::string RolloutYaml(const std::string& metadata, const std::string& service) {
  return "---\napiVersion: weir.dev/v1alpha1\nkind: Rollout\nmetadata: {namespace: shop, " + metadata +
         "}\nspec: {service: " + service + ", revision: v1, strategy: {canary: {}}}\n";
}

}  // namespace weir::model
