// The content agents should hold and the log of how it came about.
//
// Makes what brings an agent from one generation to the present one: a delta, or a snapshot where no delta
// can be made. Each is serialised once and shared by all streams. Not thread-safe.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "weir/v1/agent.pb.h"

namespace weir::dispatch {

using FrontendPtr = std::shared_ptr<const v1::Frontend>;

/// Serialised ControllerMessages, to be sent in this order.
struct Update {
  uint64_t generation = 0;
  bool full = false;
  size_t bytes = 0;
  std::vector<grpc::ByteBuffer> messages;
};

/// One message as bytes for a raw stream.
grpc::ByteBuffer Serialize(const v1::ControllerMessage& message);

class Journal {
 public:
  struct Options {
    size_t part_bytes = 1 << 20;    // limit of one message; a single frontend may exceed it
    size_t max_log_keys = 1 << 16;  // changes remembered for deltas
  };
  explicit Journal(const Options& options) : options_(options) {}

  /// Replaces all content; deltas from before are no longer possible.
  void Reset(uint64_t generation, const std::vector<FrontendPtr>& frontends);
  /// The next generation, greater than the present one. A removal of what is not there is ignored.
  void Publish(uint64_t generation, const std::vector<FrontendPtr>& upserts,
               const std::vector<v1::FrontendKey>& removals);

  uint64_t generation() const { return generation_; }
  size_t size() const { return content_.size(); }

  /// From `base` to the present generation; full when `base` is 0, unknown or too far away. `base` equal to
  /// the present generation gives a delta without changes.
  std::shared_ptr<const Update> UpdateFrom(uint64_t base);

 private:
  struct Change {
    uint64_t generation;
    std::vector<std::string> keys;
  };

  std::shared_ptr<const Update> MakeFull() const;
  std::shared_ptr<const Update> MakeDelta(uint64_t base) const;  // null when it would be too large

  Options options_;
  uint64_t generation_ = 0;
  uint64_t floor_ = 0;  // the oldest generation a delta can start from
  std::unordered_map<std::string, std::string>
      content_;             // key and frontend, serialised: a fifth of the message
  std::deque<Change> log_;  // of generations above floor_
  size_t log_keys_ = 0;
  std::map<uint64_t, std::shared_ptr<const Update>> cache_;  // by base, of the present generation
};

}  // namespace weir::dispatch
