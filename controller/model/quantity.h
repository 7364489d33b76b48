// Kubernetes' resource.Quantity: the weights of a TrafficSplit v1alpha1.
#pragma once

#include <optional>
#include <string_view>

namespace weir::model {

/// Billionths: what Kubernetes keeps of a quantity.
using Nano = unsigned __int128;

/// By the grammar of k8s.io/apimachinery pkg/api/resource: a number ("20", "1.5", "5.", ".5") and a suffix:
/// none, n u m k M G T P E, Ki Mi Gi Ti Pi Ei, or an exponent (e3, E-2). As there, what is finer than a
/// billionth is rounded up to one, and a binary quantity is at most 2^63-1. nullopt for what is none, for
/// negative ones, and for more than 36 digits.
std::optional<Nano> ParseQuantity(std::string_view text);

}  // namespace weir::model
