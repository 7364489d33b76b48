// The API server's answers on the controller's thread, the requests on the Client's.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>

#include "controller/kubernetes/client/client.h"

namespace weir::kubernetes {

/// Used on `context`'s thread; answers come there, never from within Send().
class Api {
 public:
  /// All must outlive it, and every answer: an io_context has work until the last one is there. `leads`: any
  /// thread; whether this controller may write.
  Api(Client& client, boost::asio::io_context& context, std::function<bool()> leads)
      : client_(client), context_(context), leads_(std::move(leads)) {}

  /// ABORTED for anything but a GET when this controller leads no more by the time it would be sent: what was
  /// decided before a process hung must not be written after it.
  void Send(ApiRequest request, Client::Done done);
  /// The same, whoever leads.
  void SendAlways(ApiRequest request, Client::Done done);

 private:
  void Post(ApiRequest request, bool always, Client::Done done);

  Client& client_;
  boost::asio::io_context& context_;
  const std::function<bool()> leads_;
};

}  // namespace weir::kubernetes
