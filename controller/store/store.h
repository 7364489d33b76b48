// What outlives the controller: objects, engine states, node numbers, the store's identity, the generation.
//
// Contract: a batch is in the store whole or not at all, also after kill -9 or a power cut, and is durable
// when Commit returns OK. The generation never goes back. Not thread-safe: one thread owns a Store.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "common/status.h"

namespace weir::store {

inline constexpr int32_t kApplicationId = 0x57454952;  // "WEIR"
inline constexpr int32_t kSchemaVersion = 1;

struct ObjectKey {
  std::string kind, ns, name;
  auto operator<=>(const ObjectKey&) const = default;
};

struct RolloutKey {
  std::string ns, name;
  auto operator<=>(const RolloutKey&) const = default;
};

/// A run of an analysis.
struct RunKey {
  std::string ns, rollout, id;
  auto operator<=>(const RunKey&) const = default;
};

/// A generation and a digest of what agents hold under it: the same number never stands for two contents.
struct GenerationMark {
  uint64_t number = 0;  // at most 2^63 - 1
  std::string digest;
  bool operator==(const GenerationMark&) const = default;
};

/// Everything that is stored.
struct Contents {
  std::map<ObjectKey, std::string> objects;  // YAML
  std::map<RolloutKey, std::string> states;  // JSON
  std::map<std::string, uint32_t> nodes;     // dense numbers, by node name
  GenerationMark generation;
  std::map<RunKey, std::string> runs;  // JSON
  bool operator==(const Contents&) const = default;
};

/// Changes that become durable together. nullopt erases.
struct Batch {
  std::map<ObjectKey, std::optional<std::string>> objects;
  std::map<RolloutKey, std::optional<std::string>> states;
  std::map<std::string, std::optional<uint32_t>> nodes;
  std::optional<GenerationMark> generation;
  std::map<RunKey, std::optional<std::string>> runs;

  bool empty() const {
    return objects.empty() && states.empty() && nodes.empty() && !generation && runs.empty();
  }
};

class Store {
 public:
  /// Opens `directory`, making it and its database if there is none yet. Refused, with nothing changed:
  /// UNAVAILABLE when another controller holds it; FAILED_PRECONDITION for another schema version, a database
  /// that is not Weir's, or a directory that cannot be written; DATA_LOSS when it is damaged.
  static Result<std::unique_ptr<Store>> Open(const std::filesystem::path& directory);

  virtual ~Store() = default;

  /// Everything that is stored; DATA_LOSS naming the row when a row's checksum does not fit.
  virtual Result<Contents> Load() = 0;

  /// Makes the batch durable. On an error nothing of it is stored. FAILED_PRECONDITION when the generation
  /// would go back, or would keep its number under another digest.
  virtual Status Commit(const Batch& batch) = 0;

  /// A random UUID, made with the store.
  virtual const std::string& controller_id() const = 0;
};

}  // namespace weir::store
