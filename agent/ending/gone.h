// Connections to endpoints that are gone: not terminating, not unready, but in no EndpointSlice any more.
// Nobody will answer them, so they are ended.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent/datapath/ending.h"
#include "common/clock.h"

namespace weir::ending {

/// One thread (the io_context's).
///
/// Looks at what is, not at what changed: which endpoints have open connections, and which of those exist. So
/// one that went while no agent ran is found by the next, after its first full snapshot.
class Gone {
 public:
  /// Called with the service and how many were ended.
  using Told = std::function<void(const std::string& ns, const std::string& service, uint64_t ended)>;

  /// An endpoint is given up `after` it was last known: it may only be on its way from one EndpointSlice to
  /// another. All outlive this.
  Gone(boost::asio::io_context& context, const Clock& clock, datapath::Ending& ending,
       std::chrono::milliseconds after, Told told)
      : clock_(clock),
        context_(context),
        ending_(ending),
        after_(after),
        told_(std::move(told)),
        timer_(context) {}

  /// The change is in force.
  void Applied(const datapath::Change& change);
  /// Names of the orders that are under way.
  const std::set<std::string>& names() const { return names_; }

 private:
  struct Known {
    std::string ns, service;
    std::vector<SocketAddress> endpoints;  // sorted: of the variants, and lingering
  };

  bool Take(const datapath::Frontend& frontend);
  void Arm();
  void Listed(const std::vector<datapath::Living>& living);
  void Swept(const datapath::Swept& swept);

  const Clock& clock_;
  boost::asio::io_context& context_;
  datapath::Ending& ending_;
  const std::chrono::milliseconds after_;
  const Told told_;
  boost::asio::steady_timer timer_;
  bool armed_ = false;
  std::map<datapath::FrontendKey, Known> known_;    // frontends whose endpoints are all known
  std::map<datapath::Living, MonotonicTime> lost_;  // endpoints that were known until then
  std::set<std::string> names_;
  std::map<std::string, datapath::FrontendKey> frontends_;  // of orders under way
  std::shared_ptr<char> alive_ = std::make_shared<char>();  // what ends late looks whether we still are
};

}  // namespace weir::ending
