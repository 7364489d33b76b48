#include "controller/app/acks.h"

#include <algorithm>

namespace weir::app {

AckView::AckView(const std::map<std::string, dispatch::Node>& nodes, std::chrono::milliseconds ack_timeout,
                 MonotonicTime now) {
  acked_.reserve(nodes.size());
  for (const auto& [name, node] : nodes) {
    if (!node.connected) {
      MonotonicTime expiry = node.away_since + ack_timeout;
      if (expiry <= now) {
        behind_.push_back(name);
        continue;
      }
      if (!next_expiry_ || expiry < *next_expiry_) next_expiry_ = expiry;
    } else if (node.generation_nacked != 0) {
      refusals_.push_back({node.generation_acked, node.generation_nacked, name + ": " + node.nack_reason});
    }
    acked_.push_back(node.generation_acked);
  }
  std::sort(acked_.begin(), acked_.end());
}

engine::Acks AckView::For(uint64_t generation) const {
  engine::Acks acks;
  acks.generation = generation;
  acks.desired = static_cast<uint32_t>(acked_.size());
  acks.acked =
      static_cast<uint32_t>(acked_.end() - std::lower_bound(acked_.begin(), acked_.end(), generation));
  acks.behind = behind_;
  for (const auto& refusal : refusals_) {
    if (refusal.acked < generation && refusal.nacked >= generation) acks.refusing.push_back(refusal.text);
  }
  return acks;
}

std::vector<std::string> AckView::Refusing(uint64_t generation) const {
  std::vector<std::string> refusing;
  for (const auto& refusal : refusals_) {
    if (refusal.nacked >= generation) refusing.push_back(refusal.text);
  }
  return refusing;
}

const AckView& AckViews::For(std::chrono::milliseconds ack_timeout) {
  MonotonicTime now = clock_.Now();
  auto found = views_.find(ack_timeout);
  if (found != views_.end() && found->second.next_expiry() && *found->second.next_expiry() <= now) {
    views_.erase(found);
    found = views_.end();
  }
  if (found == views_.end())
    found = views_.emplace(ack_timeout, AckView(dispatcher_.nodes(), ack_timeout, now)).first;
  return found->second;
}

}  // namespace weir::app
