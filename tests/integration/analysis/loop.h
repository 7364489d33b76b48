// One io_context for client and servers, run until an answer has come.
#pragma once

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <functional>
#include <optional>

#include "common/http_client.h"

namespace weir {

class Loop {
 public:
  boost::asio::io_context context;
  HttpClient client{context};

  /// Runs until what `start` was given has been called. A minute is an error of the test.
  template <typename T>
  Result<T> Await(const std::function<void(std::function<void(Result<T>)>)>& start) {
    std::optional<Result<T>> answer;
    start([&answer](Result<T> result) {
      EXPECT_FALSE(answer.has_value()) << "answered twice";
      answer.emplace(std::move(result));
    });
    EXPECT_FALSE(answer.has_value()) << "answered from within the call";
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (!answer && std::chrono::steady_clock::now() < deadline) {
      context.restart();
      context.run_one_for(std::chrono::seconds(1));
    }
    if (!answer) return Error(absl::StatusCode::kInternal, "the test waited a minute");
    return *std::move(answer);
  }
  Result<HttpAnswer> Call(HttpCall call) {
    return Await<HttpAnswer>([&](auto done) { client.Call(call, std::move(done)); });
  }
};

}  // namespace weir
