// Watchers of rollouts.
//
// The application says which rollouts changed; each watcher remembers names, not states, and fetches the
// newest state when its stream can take it. So a slow watcher holds at most one name per rollout. The
// io_context's thread only.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <boost/asio/io_context.hpp>
#include <unordered_set>

#include "controller/api/backend.h"

namespace weir::api {

class WatchReactor;

class WatchHub {
 public:
  WatchHub(boost::asio::io_context& context, Backend& backend) : context_(context), backend_(backend) {}

  /// The rollout may have changed or gone; watchers compare for themselves.
  void Changed(const RolloutName& name);
  /// Ends every watch with `status`, and those that come later.
  void Shutdown(const grpc::Status& status);
  size_t watchers() const { return watchers_.size(); }

  /// Any thread: a reactor for one WatchRollouts call.
  grpc::ServerWriteReactor<v1::RolloutEvent>* NewWatch(const v1::ListRequest& request);

 private:
  friend class WatchReactor;
  boost::asio::io_context& context_;
  Backend& backend_;
  std::unordered_set<WatchReactor*> watchers_;
  bool shut_down_ = false;
  grpc::Status shutdown_status_;
};

}  // namespace weir::api
