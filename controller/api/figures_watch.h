// Streams of figures: the present ones at once, then again at the pace the client asked for.
//
// A slow client has one message in flight and misses those in between. The io_context's thread only.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <boost/asio/io_context.hpp>
#include <unordered_set>

#include "controller/api/backend.h"

namespace weir::api {

class FiguresReactor;

class FiguresHub {
 public:
  FiguresHub(boost::asio::io_context& context, Backend& backend) : context_(context), backend_(backend) {}

  /// Ends every watch with `status`, and those that come later.
  void Shutdown(const grpc::Status& status);

  /// Any thread: a reactor for one WatchFigures call.
  grpc::ServerWriteReactor<v1::FiguresResponse>* NewWatch(const v1::FiguresRequest& request);

 private:
  friend class FiguresReactor;
  boost::asio::io_context& context_;
  Backend& backend_;
  std::unordered_set<FiguresReactor*> watchers_;
  bool shut_down_ = false;
  grpc::Status shutdown_status_;
};

}  // namespace weir::api
