// What people see with kubectl: the status of Rollouts and routes, written when it has changed. The
// controller's thread.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <boost/json.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "controller/kubernetes/leader/api.h"

namespace weir::kubernetes {

/// Which object's status.
struct StatusKey {
  Resource resource;
  ObjectKey key;
  auto operator<=>(const StatusKey&) const = default;
};

class Statuses {
 public:
  /// The status an object is to have: members to merge; nullopt: it is not known, or not ours to write.
  using Make = std::function<std::optional<boost::json::object>(const StatusKey&)>;

  Statuses(boost::asio::io_context& context, Api& api, Make make);

  /// Something that the status says may have changed: it is made, and written where it is another one, within
  /// kPace.
  void Changed(const StatusKey& key);
  /// What the object says now, whoever wrote it.
  void Seen(const StatusKey& key, const boost::json::value& status);
  void Forget(const StatusKey& key);
  void Stop();

  struct Counters {
    uint64_t written = 0, failed = 0;
  };
  const Counters& counters() const { return counters_; }

  static constexpr std::chrono::milliseconds kPace{100};

 private:
  void Arm(std::chrono::milliseconds delay);
  void Write();

  boost::asio::io_context& context_;
  Api& api_;
  Make make_;
  std::map<StatusKey, std::string> present_;  // members as last seen or written
  std::set<StatusKey> dirty_, writing_;
  boost::asio::steady_timer timer_;
  bool armed_ = false, stopped_ = false;
  Counters counters_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace weir::kubernetes
