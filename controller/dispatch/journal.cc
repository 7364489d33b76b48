#include "controller/dispatch/journal.h"

#include <grpcpp/support/slice.h>

#include <cstdlib>
#include <unordered_set>

#include "common/log.h"

namespace weir::dispatch {
namespace {

// What a repeated field adds to a frontend's own bytes: tag and length.
constexpr size_t kFieldOverhead = 6;

v1::Update* NewUpdate(v1::ControllerMessage& message, uint64_t generation, bool full) {
  message.Clear();
  v1::Update* update = message.mutable_update();
  update->set_generation(generation);
  update->set_full(full);
  return update;
}

void AddUpsert(const std::string& frontend, v1::Update& update) {
  if (update.add_upserts()->ParseFromString(frontend)) return;
  LogError("a frontend does not parse as it was serialised", {{"bytes", frontend.size()}});
  std::abort();
}

void Append(Update& update, const v1::ControllerMessage& message) {
  update.messages.push_back(Serialize(message));
  update.bytes += update.messages.back().Length();
}

}  // namespace

grpc::ByteBuffer Serialize(const v1::ControllerMessage& message) {
  grpc::Slice slice(message.ByteSizeLong());
  message.SerializeWithCachedSizesToArray(const_cast<uint8_t*>(slice.begin()));
  return {&slice, 1};
}

void Journal::Reset(uint64_t generation, const std::vector<FrontendPtr>& frontends) {
  generation_ = floor_ = generation;
  content_.clear();
  log_.clear();
  log_keys_ = 0;
  cache_.clear();
  for (const auto& frontend : frontends)
    content_[frontend->key().SerializeAsString()] = frontend->SerializeAsString();
}

void Journal::Publish(uint64_t generation, const std::vector<FrontendPtr>& upserts,
                      const std::vector<v1::FrontendKey>& removals) {
  if (generation <= generation_) {
    LogError("a generation must be greater than the one before",
             {{"generation", generation}, {"before", generation_}});
    std::abort();
  }
  Change change{generation, {}};
  for (const auto& frontend : upserts) {
    std::string key = frontend->key().SerializeAsString();
    content_[key] = frontend->SerializeAsString();
    change.keys.push_back(std::move(key));
  }
  for (const auto& removal : removals) {
    std::string key = removal.SerializeAsString();
    if (content_.erase(key) > 0) change.keys.push_back(std::move(key));
  }
  generation_ = generation;
  log_keys_ += change.keys.size();
  log_.push_back(std::move(change));
  while (log_keys_ > options_.max_log_keys) {
    log_keys_ -= log_.front().keys.size();
    floor_ = log_.front().generation;
    log_.pop_front();
  }
  cache_.clear();
}

std::shared_ptr<const Update> Journal::UpdateFrom(uint64_t base) {
  bool diffable = base != 0 && base >= floor_ && base <= generation_;
  if (!diffable) base = 0;
  auto& cached = cache_[base];
  if (cached == nullptr && diffable) cached = MakeDelta(base);
  if (cached == nullptr && base != 0) cached = UpdateFrom(0);
  if (cached == nullptr) cached = MakeFull();
  return cached;
}

std::shared_ptr<const Update> Journal::MakeDelta(uint64_t base) const {
  std::unordered_set<std::string_view> keys;
  for (auto change = log_.rbegin(); change != log_.rend() && change->generation > base; ++change) {
    keys.insert(change->keys.begin(), change->keys.end());
  }
  v1::ControllerMessage message;
  v1::Update* update = NewUpdate(message, generation_, false);
  update->set_last(true);
  update->set_base_generation(base);
  size_t bytes = 0;
  for (std::string_view key : keys) {
    auto found = content_.find(std::string(key));
    if (found == content_.end()) {
      update->add_removals()->ParseFromArray(key.data(), static_cast<int>(key.size()));
      bytes += key.size() + kFieldOverhead;
    } else {
      bytes += found->second.size() + kFieldOverhead;
      if (bytes <= options_.part_bytes) AddUpsert(found->second, *update);
    }
    if (bytes > options_.part_bytes) return nullptr;
  }
  auto result = std::make_shared<Update>();
  result->generation = generation_;
  Append(*result, message);
  return result;
}

std::shared_ptr<const Update> Journal::MakeFull() const {
  auto result = std::make_shared<Update>();
  result->generation = generation_;
  result->full = true;
  v1::ControllerMessage message;
  v1::Update* update = NewUpdate(message, generation_, true);
  constexpr size_t kHeader = 64;  // generation, flags and the lengths around them
  size_t bytes = kHeader;
  for (const auto& [key, frontend] : content_) {
    size_t size = frontend.size() + kFieldOverhead;
    if (bytes + size > options_.part_bytes && update->upserts_size() > 0) {
      Append(*result, message);
      update = NewUpdate(message, generation_, true);
      bytes = kHeader;
    }
    AddUpsert(frontend, *update);
    bytes += size;
  }
  update->set_last(true);
  Append(*result, message);
  return result;
}

}  // namespace weir::dispatch
