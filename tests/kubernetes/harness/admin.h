// A client of the API server with a thread of its own, for what kubectl would be too slow for.
#pragma once

#include <gtest/gtest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/json.hpp>
#include <memory>
#include <string>
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
  /// The object as it is then; null after a failure, which the test has with it.
  boost::json::value Must(kubernetes::ApiRequest request) {
    const std::string target = request.target;
    auto answer = Call(std::move(request));
    EXPECT_TRUE(answer.ok()) << target << ": " << answer.status();
    return answer.ok() ? std::move(answer->body) : boost::json::value();
  }
  /// Null where there is none.
  boost::json::value Find(const kubernetes::Resource& resource, const kubernetes::ObjectKey& key) {
    auto answer = Call(kubernetes::GetRequest(resource, key));
    return answer.ok() ? std::move(answer->body) : boost::json::value();
  }

 private:
  boost::asio::io_context network_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{network_.get_executor()};
  std::unique_ptr<kubernetes::Client> client_;
  std::thread thread_;
};

}  // namespace weir::kubernetes_test
