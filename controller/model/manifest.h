// YAML manifests to typed objects, and the rules that hold within one object and between objects. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "controller/model/objects.h"

namespace weir::model {

/// One YAML document.
struct Document {
  Object object;
  std::string file;
  int line = 0;      // where the document begins, from 1
  std::string yaml;  // the document alone, for the store: parses to the same object
};

/// All documents of one file (separated by ---; empty ones are skipped). INVALID_ARGUMENT lists every error
/// found, one per line: "file:line: Kind ns/name: field.path: found X, expected Y; remedy".
Result<std::vector<Document>> ParseManifests(std::string_view yaml, std::string_view file);

/// Where objects come from. Files are applied by people who read the answer: all that is wrong is an error.
/// In a cluster objects come one by one, in any order: admit.h leaves out what is wrong by itself; references
/// that lead nowhere yet are no error there, and what is wrong with routes stands in their status.
enum class Origin : uint8_t { kFiles, kCluster };

/// The rules between objects, over everything that shall exist: services that are named exist, no VIP:port
/// twice, no endpoint that is a VIP, one owner per service, ... INVALID_ARGUMENT lists every breach, one per
/// line, by kind, name and field.
Status ValidateSet(const ObjectSet& objects, Origin origin = Origin::kFiles);

/// Argo's spellings: 10, "10", "10s", "5m", "1h", "1h30m", "250ms". nullopt for anything else, negatives and
/// overflow included.
std::optional<std::chrono::milliseconds> ParseDuration(std::string_view text);
/// "10s", "5m", "1h30m", "250ms".
std::string FormatDuration(std::chrono::milliseconds duration);

/// "setWeight: 20", "pause: 10s", "pause", "analysis: NAME, NAME".
std::string StepText(const engine::RolloutStep& step);

}  // namespace weir::model
