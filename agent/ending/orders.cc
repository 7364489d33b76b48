#include "agent/ending/orders.h"

#include <algorithm>
#include <boost/asio/post.hpp>

#include "common/log.h"

namespace weir::ending {
namespace {

constexpr size_t kMaxTroubleBytes = 1024;

/// Frontends that are no addresses are left out: nothing can have been dialled there.
std::vector<datapath::EndTarget> TargetsOf(const v1::EndOrder& order) {
  std::vector<datapath::EndTarget> targets;
  for (const v1::FrontendKey& key : order.frontends()) {
    const auto address = IpAddress::FromBytes(key.address());
    const bool known = key.protocol() == v1::PROTOCOL_TCP || key.protocol() == v1::PROTOCOL_UDP;
    if (!address || !known || key.port() > 0xffff) continue;
    targets.push_back(
        {.frontend = {.address = {.address = *address, .port = static_cast<uint16_t>(key.port())},
                      .protocol = static_cast<Protocol>(key.protocol())},
         .revision = order.revision()});
  }
  return targets;
}

/// The change gives the order's revision connections.
bool Raises(const datapath::Change& change, const std::vector<datapath::EndTarget>& targets) {
  return std::any_of(change.upserts.begin(), change.upserts.end(), [&](const datapath::Frontend& frontend) {
    return std::any_of(targets.begin(), targets.end(), [&](const datapath::EndTarget& target) {
      if (target.frontend != frontend.key) return false;
      return std::any_of(frontend.variants.begin(), frontend.variants.end(), [&](const auto& variant) {
        return variant.revision == target.revision && variant.weight > 0;
      });
    });
  });
}

std::string TroubleText(const datapath::SweptOrder& swept, const std::vector<std::string>& failures) {
  std::string text;
  if (swept.multipath > 0) text = fmt::format("{} MPTCP connections cannot be ended", swept.multipath);
  if (swept.left <= swept.multipath) return text;
  for (const std::string& failure : failures) text += (text.empty() ? "" : "; ") + failure;
  return text.substr(0, kMaxTroubleBytes);
}

}  // namespace

std::vector<std::string> Orders::Abilities() const {
  std::vector<std::string> abilities{"end_orders"};
  if (ending_.Able().ok()) abilities.emplace_back("sock_destroy");
  return abilities;
}

void Orders::Welcomed(const std::string& controller_id, std::function<void(v1::AgentMessage)> send) {
  controller_id_ = controller_id;
  send_ = std::move(send);
}

void Orders::OnEndOrders(const v1::EndOrders& orders) {
  std::set<std::string> ids;
  for (const v1::EndOrder& order : orders.orders()) ids.insert(order.id());
  if (const Status status = ending_.VoidAllBut(ids); !status.ok())
    LogWarn("orders to end connections could not be voided", {{"error", status}});
  std::erase_if(standing_, [&](const auto& entry) { return !ids.contains(entry.first); });
  for (const v1::EndOrder& order : orders.orders()) {
    const auto [entry, fresh] = standing_.try_emplace(order.id());
    if (fresh) {
      entry->second.order = order;
      entry->second.targets = TargetsOf(order);
    } else if (entry->second.answer) {
      Send(*entry->second.answer);  // it has not arrived
    }
  }
  Begin();
}

void Orders::BeforeApply(const datapath::Change& change) {
  for (auto entry = standing_.begin(); entry != standing_.end();) {
    const auto next = std::next(entry);
    if (Raises(change, entry->second.targets)) Void(entry->first, "its revision is given connections again");
    entry = next;
  }
}

void Orders::Void(const std::string& id, std::string_view why) {
  LogInfo("order to end connections is void", {{"order", id}, {"reason", why}});
  if (const Status status = ending_.Void(id); !status.ok())
    LogWarn("an order to end connections could not be voided", {{"order", id}, {"error", status}});
  standing_.erase(id);
}

Status Orders::BeginOne(Standing& standing) {
  RETURN_IF_ERROR(ending_.Able());
  RETURN_IF_ERROR(ending_.Order(standing.order.id(), standing.targets));
  ASSIGN_OR_RETURN(const datapath::EndCounts before, ending_.Count(standing.order.id()));
  standing.counted = before.tcp + before.udp;
  standing.begun = true;
  return OkStatus();
}

void Orders::Begin() {
  // A generation of another controller's says nothing.
  if (datapath_.ControllerId() != controller_id_) return;
  bool sweep = false;
  for (auto& [id, standing] : standing_) {
    if (standing.begun || standing.answer) continue;
    if (datapath_.Generation() < standing.order.generation()) continue;  // AfterApply looks again
    if (const Status status = BeginOne(standing); !status.ok()) {
      v1::Ended answer;
      answer.set_trouble(Message(status).substr(0, kMaxTroubleBytes));
      LogWarn("connections cannot be ended", {{"order", id}, {"error", status}});
      Answer(standing, std::move(answer));
      continue;
    }
    sweep = true;
  }
  if (!sweep) return;
  ending_.Sweep([this, &context = context_, alive = std::weak_ptr<char>(alive_)](datapath::Swept swept) {
    boost::asio::post(context, [this, alive, swept = std::move(swept)] {
      if (!alive.expired()) Swept(swept);
    });
  });
}

void Orders::Swept(const datapath::Swept& swept) {
  for (const auto& [id, found] : swept.orders) {
    const auto entry = standing_.find(id);
    if (entry == standing_.end() || !entry->second.begun || entry->second.answer) continue;
    Standing& standing = entry->second;
    v1::Ended answer;
    const auto counts = ending_.Count(id);
    if (counts.ok()) {
      answer.set_tcp(counts->tcp);
      answer.set_udp(counts->udp);
      const uint64_t total = counts->tcp + counts->udp;
      const v1::EndOrder& order = standing.order;
      ended_[{order.namespace_(), order.service(), order.revision()}] +=
          total - std::min(total, standing.counted);
      standing.counted = total;
    }
    answer.set_namespaces(static_cast<uint32_t>(found.namespaces.size()));
    answer.set_left(found.left);
    answer.set_trouble(counts.ok() ? TroubleText(found, swept.failures) : Message(counts.status()));
    LogInfo("connections ended", {{"order", id},
                                  {"tcp", answer.tcp()},
                                  {"udp", answer.udp()},
                                  {"namespaces", answer.namespaces()},
                                  {"left", answer.left()},
                                  {"trouble", answer.trouble()}});
    Answer(standing, std::move(answer));
  }
}

void Orders::Answer(Standing& standing, v1::Ended answer) {
  answer.set_id(standing.order.id());
  standing.answer = std::move(answer);
  Send(*standing.answer);
}

void Orders::Send(const v1::Ended& answer) const {
  if (!send_) return;  // said when the controller names the order again
  v1::AgentMessage message;
  *message.mutable_ended() = answer;
  send_(std::move(message));
}

}  // namespace weir::ending
