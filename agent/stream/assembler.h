// From the controller's updates to changes for the datapath: parts are put together, several changes are
// merged into one, and what the datapath refused is carried along. Pure; not thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/datapath/datapath.h"
#include "common/status.h"
#include "weir/v1/agent.pb.h"

namespace weir::stream {

/// Puts `next` on top of `base`: afterwards base does what both did one after the other, under next's
/// generation.
void Merge(datapath::Change& base, datapath::Change next);

class Assembler {
 public:
  /// Bounds of one update in memory, parts together.
  struct Limits {
    uint64_t max_frontends = 16384;
    uint64_t max_endpoints = 262144;
  };

  /// One generation, all parts received.
  struct Complete {
    uint64_t generation = 0;
    /// INVALID_ARGUMENT (a bad field) or RESOURCE_EXHAUSTED (beyond the limits): to be nacked, nothing to
    /// apply.
    Result<datapath::Change> change;
  };

  explicit Assembler(const Limits& limits) : limits_(limits) {}

  /// A new stream under `controller_id`. `held`: the generation that its deltas may build upon, nullopt when
  /// only a full snapshot will do. Drops parts and refused changes of the stream before.
  void Begin(std::string controller_id, std::optional<uint64_t> held);

  /// Takes one part; a value when it completes its generation. FAILED_PRECONDITION when the update does not
  /// follow what is held or was received: ask for a full snapshot on a new stream.
  Result<std::optional<Complete>> Add(const v1::Update& update);

  /// The complete change with what was refused before it: what the datapath is to apply.
  datapath::Change WithRefused(datapath::Change change) const;

  /// The datapath took everything up to `generation`.
  void Applied(uint64_t generation);
  /// The datapath refused `change` (as returned by WithRefused).
  void Refused(datapath::Change change);

 private:
  struct Partial {
    uint64_t generation = 0;
    bool full = false;
    uint64_t endpoints = 0;
    datapath::Change change;
    Status error;  // the first; the parts after it are skipped
  };

  Status CheckFollows(const v1::Update& update) const;
  Status AddContent(const v1::Update& update);
  Complete Finish();

  Limits limits_;
  std::string controller_id_;
  std::optional<uint64_t> held_;      // what deltas may build upon, once applied
  std::optional<uint64_t> received_;  // the last generation of this stream, whatever became of it
  std::optional<Partial> partial_;
  std::optional<datapath::Change> refused_;
  bool refused_unknown_ = false;  // some content was refused that is not in refused_
};

}  // namespace weir::stream
