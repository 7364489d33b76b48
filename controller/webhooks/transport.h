// HTTP calls on a thread of their own: a name server that does not answer, or a TLS handshake, delays nobody
// but other notifications.
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <thread>

#include "common/http_client.h"

namespace weir::webhooks {

class Transport {
 public:
  /// Answers come on `home`, which must outlive it.
  explicit Transport(boost::asio::io_context& home);
  /// Stops and waits for the thread: for as long as the system's resolver takes to give up a name.
  ~Transport();
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  /// As HttpClient::Call; `done` is called on `home`'s thread. From any thread, not after Stop().
  void Call(HttpCall call, HttpClient::Done done);
  /// Ends every call with CANCELLED. Does not wait.
  void Stop();

 private:
  boost::asio::io_context& home_;
  boost::asio::io_context context_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  HttpClient client_;
  std::thread thread_;
};

}  // namespace weir::webhooks
