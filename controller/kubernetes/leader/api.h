// The API server's answers on the controller's thread, the requests on the Client's.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>

#include "controller/kubernetes/client/client.h"

namespace weir::kubernetes {

/// Used on `context`'s thread; answers come there, never from within Send().
class Api {
 public:
  /// Both must outlive it, and every answer: an io_context has work until the last one is there.
  Api(Client& client, boost::asio::io_context& context) : client_(client), context_(context) {}

  void Send(ApiRequest request, Client::Done done);

 private:
  Client& client_;
  boost::asio::io_context& context_;
};

}  // namespace weir::kubernetes
