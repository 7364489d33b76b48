#include "controller/webhooks/transport.h"

#include <boost/asio/post.hpp>
#include <utility>

namespace weir::webhooks {

Transport::Transport(boost::asio::io_context& home)
    : home_(home),
      work_(boost::asio::make_work_guard(context_)),
      client_(context_),
      thread_([this] { context_.run(); }) {}

Transport::~Transport() {
  Stop();
  thread_.join();
}

void Transport::Call(HttpCall call, HttpClient::Done done) {
  // `home` has work as long as an answer is owed.
  auto owed = boost::asio::make_work_guard(home_);
  boost::asio::post(context_, [this, call = std::move(call), done = std::move(done), owed]() mutable {
    client_.Call(std::move(call), [this, done = std::move(done), owed](Result<HttpAnswer> answer) {
      boost::asio::post(home_, [done, answer = std::move(answer)]() mutable { done(std::move(answer)); });
    });
  });
}

void Transport::Stop() {
  boost::asio::post(context_, [this] {
    client_.Stop();
    work_.reset();
  });
}

}  // namespace weir::webhooks
