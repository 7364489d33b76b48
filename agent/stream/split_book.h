// What the splits in force are called and how they stand: the kernel keeps numbers, metrics want names and
// roles. Kept up to date by the client with every change that came in force. Pure; one thread (the
// io_context's).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/datapath/datapath.h"
#include "common/clock.h"

namespace weir::stream {

class SplitBook {
 public:
  struct Variant {
    std::string revision;
    uint32_t weight = 0;
    datapath::Role role = datapath::Role::kNone;
  };
  struct Split {
    std::string ns, service;
    std::string consumer_ns;  // whose clients alone are divided so; empty: all others
    std::vector<Variant> variants;
  };

  /// The change is in force since `now`, which never goes back.
  void Applied(const datapath::Change& change, MonotonicTime now = {});

  /// Null for a frontend the book does not know: none was ever told, as after the adoption of a split.
  const Split* Find(const datapath::FrontendKey& key) const;

  /// The revision's role in the service's splits; of several ports that say differently, canary or
  /// preview before backend before stable or active before previous. kNone: no split names it.
  datapath::Role RoleOf(std::string_view ns, std::string_view service, std::string_view revision) const;

  /// Some port of the service has a canary or a preview, a previous revision beside another, or two variants
  /// with a weight: somebody may be waiting for its figures.
  bool AtWork(std::string_view ns, std::string_view service) const;
  /// Some service is.
  bool AnyAtWork() const { return at_work_ != 0; }

  /// How long after it was at work a service is told of as if it still were: what became of the last
  /// connections to the revision that has gone from it is waited for.
  static constexpr std::chrono::seconds kCooling{5};
  bool WasAtWork(std::string_view ns, std::string_view service, MonotonicTime now) const;
  bool AnyWasAtWork(MonotonicTime now) const;

 private:
  using ServiceKey = std::pair<std::string, std::string>;
  using ServiceView = std::pair<std::string_view, std::string_view>;
  struct Less {
    using is_transparent = void;
    bool operator()(const auto& a, const auto& b) const { return ServiceView(a) < ServiceView(b); }
  };
  const std::set<datapath::FrontendKey>* PortsOf(std::string_view ns, std::string_view service) const;
  void Remove(const datapath::FrontendKey& key);

  std::map<datapath::FrontendKey, Split> splits_;
  std::map<ServiceKey, std::set<datapath::FrontendKey>, Less> ports_;
  size_t at_work_ = 0;                                       // splits
  std::map<ServiceKey, MonotonicTime, Less> at_work_until_;  // of services whose work has ended
};

}  // namespace weir::stream
