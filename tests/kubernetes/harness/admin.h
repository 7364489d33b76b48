// A client of the API server with a thread of its own, for what kubectl would be too slow for.
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <memory>
#include <thread>

#include "controller/kubernetes/client/client.h"
#include "tests/kubernetes/harness/control_plane.h"

namespace weir::kubernetes_test {

class Admin {
 public:
  explicit Admin(const ControlPlane& plane) {
    auto access = kubernetes::FromKubeconfig(plane.admin_kubeconfig());
    if (!access.ok()) std::abort();
    auto client = kubernetes::Client::Create(network_, *access);
    if (!client.ok()) std::abort();
    client_ = *std::move(client);
    thread_ = std::thread([this] { network_.run(); });
  }
  ~Admin() {
    boost::asio::post(network_, [this] { client_->Stop(); });
    work_.reset();
    thread_.join();
  }
  Admin(const Admin&) = delete;
  Admin& operator=(const Admin&) = delete;

  /// Any thread.
  Result<kubernetes::Response> Call(kubernetes::ApiRequest request) {
    return client_->Call(std::move(request));
  }

 private:
  boost::asio::io_context network_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{network_.get_executor()};
  std::unique_ptr<kubernetes::Client> client_;
  std::thread thread_;
};

}  // namespace weir::kubernetes_test
