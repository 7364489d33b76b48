#include "controller/kubernetes/leader/api.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

namespace weir::kubernetes {

void Api::Send(ApiRequest request, Client::Done done) {
  auto work = boost::asio::make_work_guard(context_);
  boost::asio::post(client_.context(), [this, work, request = std::move(request),
                                        done = std::move(done)]() mutable {
    client_.Send(std::move(request), [work, done = std::move(done)](Result<Response> answer) mutable {
      boost::asio::post(work.get_executor(), [done = std::move(done), answer = std::move(answer)]() mutable {
        done(std::move(answer));
      });
    });
  });
}

}  // namespace weir::kubernetes
