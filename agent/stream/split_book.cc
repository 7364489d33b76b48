#include "agent/stream/split_book.h"

#include <algorithm>

namespace weir::stream {
namespace {

using datapath::Role;

bool IsAtWork(const SplitBook::Split& split) {
  const auto weighted = [](const SplitBook::Variant& variant) { return variant.weight > 0; };
  const auto on_trial = [&](const SplitBook::Variant& variant) {
    return variant.role == Role::kCanary || variant.role == Role::kPreview ||
           (variant.role == Role::kPrevious && split.variants.size() > 1);
  };
  return std::count_if(split.variants.begin(), split.variants.end(), weighted) > 1 ||
         std::any_of(split.variants.begin(), split.variants.end(), on_trial);
}

/// Which role is told when ports differ.
int Rank(Role role) {
  switch (role) {
    case Role::kCanary:
    case Role::kPreview:
      return 4;
    case Role::kBackend:
      return 3;
    case Role::kStable:
    case Role::kActive:
      return 2;
    case Role::kPrevious:
      return 1;
    case Role::kNone:
      break;
  }
  return 0;
}

}  // namespace

void SplitBook::Applied(const datapath::Change& change, MonotonicTime now) {
  std::set<ServiceKey> worked;
  const auto note = [&](const Split& split) {
    if (IsAtWork(split)) worked.emplace(split.ns, split.service);
  };
  if (change.full) {
    for (const auto& [key, split] : splits_) note(split);
  }
  for (const datapath::FrontendKey& key : change.removals) {
    if (const Split* split = Find(key)) note(*split);
  }
  for (const datapath::Frontend& frontend : change.upserts) {
    if (const Split* split = Find(frontend.key)) note(*split);
  }
  if (change.full) {
    splits_.clear();
    ports_.clear();
    at_work_ = 0;
  }
  for (const datapath::FrontendKey& key : change.removals) Remove(key);
  for (const datapath::Frontend& frontend : change.upserts) {
    Remove(frontend.key);
    Split split{frontend.ns, frontend.service, frontend.consumer_ns, {}};
    split.variants.reserve(frontend.variants.size());
    for (const datapath::Variant& variant : frontend.variants) {
      split.variants.push_back({variant.revision, variant.weight, variant.role});
    }
    at_work_ += IsAtWork(split) ? 1 : 0;
    ports_[{split.ns, split.service}].insert(frontend.key);
    splits_.emplace(frontend.key, std::move(split));
  }
  std::erase_if(at_work_until_, [&](const auto& entry) { return now - entry.second >= kCooling; });
  for (const ServiceKey& service : worked) {
    if (!AtWork(service.first, service.second)) at_work_until_[service] = now;
  }
}

bool SplitBook::WasAtWork(std::string_view ns, std::string_view service, MonotonicTime now) const {
  const auto found = at_work_until_.find(ServiceView(ns, service));
  return found != at_work_until_.end() && now - found->second < kCooling;
}

bool SplitBook::AnyWasAtWork(MonotonicTime now) const {
  return std::ranges::any_of(at_work_until_,
                             [&](const auto& entry) { return now - entry.second < kCooling; });
}

void SplitBook::Remove(const datapath::FrontendKey& key) {
  const auto found = splits_.find(key);
  if (found == splits_.end()) return;
  at_work_ -= IsAtWork(found->second) ? 1 : 0;
  const auto ports = ports_.find(ServiceView(found->second.ns, found->second.service));
  ports->second.erase(key);
  if (ports->second.empty()) ports_.erase(ports);
  splits_.erase(found);
}

const SplitBook::Split* SplitBook::Find(const datapath::FrontendKey& key) const {
  const auto found = splits_.find(key);
  return found == splits_.end() ? nullptr : &found->second;
}

const std::set<datapath::FrontendKey>* SplitBook::PortsOf(std::string_view ns,
                                                          std::string_view service) const {
  const auto found = ports_.find(ServiceView(ns, service));
  return found == ports_.end() ? nullptr : &found->second;
}

Role SplitBook::RoleOf(std::string_view ns, std::string_view service, std::string_view revision) const {
  Role role = Role::kNone;
  const auto* ports = PortsOf(ns, service);
  if (ports == nullptr) return role;
  for (const datapath::FrontendKey& key : *ports) {
    for (const Variant& variant : splits_.at(key).variants) {
      if (variant.revision == revision && Rank(variant.role) > Rank(role)) role = variant.role;
    }
  }
  return role;
}

bool SplitBook::AtWork(std::string_view ns, std::string_view service) const {
  const auto* ports = PortsOf(ns, service);
  return ports != nullptr && std::any_of(ports->begin(), ports->end(), [&](const datapath::FrontendKey& key) {
           return IsAtWork(splits_.at(key));
         });
}

}  // namespace weir::stream
