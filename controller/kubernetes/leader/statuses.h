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

struct StatusToWrite {
  boost::json::object members;   // to merge
  std::string resource_version;  // written only if the object is at this one; empty: in any case
};

class Statuses {
 public:
  /// The status an object is to have; nullopt: it is not known, or not ours to write.
  using Make = std::function<std::optional<StatusToWrite>(const StatusKey&)>;

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
  /// Written at once: a thousand of them must not keep what matters more waiting, and what changes back
  /// meanwhile, as acknowledgements do when a leader begins, need not be written.
  static constexpr size_t kAtOnce = 4;

 private:
  void Arm(std::chrono::milliseconds delay);
  void Write();
  void Write(const StatusKey& key);
  void OnWritten(const StatusKey& key, const Result<Response>& answer);

  boost::asio::io_context& context_;
  Api& api_;
  Make make_;
  std::map<StatusKey, std::string> present_;  // members as last seen or written
  std::set<StatusKey> dirty_, writing_;
  boost::asio::steady_timer timer_;
  StatusKey last_;        // whose turn was last
  bool backlog_ = false;  // some had to wait for their turn
  bool armed_ = false, stopped_ = false;
  Counters counters_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace weir::kubernetes
