#include "agent/ending/gone.h"

#include <algorithm>
#include <boost/asio/post.hpp>

#include "common/log.h"

namespace weir::ending {
namespace {

bool Contains(const std::vector<SocketAddress>& sorted, const SocketAddress& endpoint) {
  return std::binary_search(sorted.begin(), sorted.end(), endpoint);
}

/// "gone/TCP 127.96.0.1:80"
std::string NameOf(const datapath::FrontendKey& key) { return "gone/" + datapath::ToString(key); }

}  // namespace

/// True if an endpoint went.
bool Gone::Take(const datapath::Frontend& frontend) {
  if (!frontend.endpoints_known) {
    known_.erase(frontend.key);
    return false;
  }
  Known& known = known_[frontend.key];
  std::vector<SocketAddress> before = std::move(known.endpoints);
  known = {frontend.ns, frontend.service, frontend.lingering};
  for (const datapath::Variant& variant : frontend.variants)
    known.endpoints.insert(known.endpoints.end(), variant.endpoints.begin(), variant.endpoints.end());
  std::sort(known.endpoints.begin(), known.endpoints.end());
  known.endpoints.shrink_to_fit();
  bool lost = false;
  for (const SocketAddress& endpoint : before) {
    if (Contains(known.endpoints, endpoint)) continue;
    lost_[{frontend.key, endpoint}] = clock_.Now();
    lost = true;
  }
  return lost;
}

void Gone::Applied(const datapath::Change& change) {
  if (!ending_.Able().ok()) return;
  bool look = change.full;
  if (change.full) {
    std::set<datapath::FrontendKey> named;
    for (const datapath::Frontend& frontend : change.upserts) named.insert(frontend.key);
    std::erase_if(known_, [&](const auto& entry) { return !named.contains(entry.first); });
  }
  for (const datapath::FrontendKey& key : change.removals) known_.erase(key);
  for (const datapath::Frontend& frontend : change.upserts) look = Take(frontend) || look;
  if (look) Arm();
}

void Gone::Arm() {
  if (std::exchange(armed_, true)) return;
  timer_.expires_after(after_);
  timer_.async_wait([this, alive = std::weak_ptr<char>(alive_)](const boost::system::error_code& error) {
    if (error || alive.expired()) return;
    armed_ = false;
    ending_.List([this, &context = context_, alive](std::vector<datapath::Living> living) {
      boost::asio::post(context, [this, alive, living = std::move(living)] {
        if (!alive.expired()) Listed(living);
      });
    });
  });
}

void Gone::Listed(const std::vector<datapath::Living>& living) {
  const MonotonicTime now = clock_.Now();
  std::map<datapath::FrontendKey, std::vector<datapath::EndTarget>> targets;
  bool again = false;
  for (const datapath::Living& at : living) {
    const auto known = known_.find(at.frontend);
    // A Service that was deleted, or whose endpoints are not all known: nothing can be said.
    if (known == known_.end() || Contains(known->second.endpoints, at.endpoint)) continue;
    const auto lost = lost_.find(at);
    if (lost != lost_.end() && now - lost->second < after_) {
      again = true;
    } else {
      targets[at.frontend].push_back({at.frontend, "", at.endpoint});
    }
  }
  std::erase_if(lost_, [&](const auto& entry) { return now - entry.second >= after_; });
  if (again) Arm();
  for (const auto& [frontend, endpoints] : targets) {
    const std::string name = NameOf(frontend);
    if (const Status status = ending_.Order(name, endpoints); !status.ok()) {
      LogWarn("connections to endpoints that are gone cannot be ended",
              {{"frontend", name}, {"error", status}});
      continue;
    }
    names_.insert(name);
    frontends_[name] = frontend;
  }
  if (names_.empty()) return;
  ending_.Sweep([this, &context = context_, alive = std::weak_ptr<char>(alive_)](datapath::Swept swept) {
    boost::asio::post(context, [this, alive, swept = std::move(swept)] {
      if (!alive.expired()) Swept(swept);
    });
  });
}

void Gone::Swept(const datapath::Swept& swept) {
  for (const auto& [name, found] : swept.orders) {
    if (names_.erase(name) == 0) continue;
    const datapath::FrontendKey frontend = frontends_.extract(name).mapped();
    const auto counts = ending_.Count(name);
    const uint64_t ended = counts.ok() ? counts->tcp + counts->udp : 0;
    if (const Status status = ending_.Void(name); !status.ok())
      LogWarn("an order to end connections could not be voided", {{"order", name}, {"error", status}});
    const auto known = known_.find(frontend);
    if (known == known_.end()) continue;
    LogInfo("connections to endpoints that are gone were ended", {{"namespace", known->second.ns},
                                                                  {"service", known->second.service},
                                                                  {"connections", ended},
                                                                  {"left", found.left}});
    told_(known->second.ns, known->second.service, ended);
  }
}

}  // namespace weir::ending
