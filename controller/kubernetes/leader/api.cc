#include "controller/kubernetes/leader/api.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

namespace weir::kubernetes {

void Api::Send(ApiRequest request, Client::Done done) { Post(std::move(request), false, std::move(done)); }

void Api::SendAlways(ApiRequest request, Client::Done done) {
  Post(std::move(request), true, std::move(done));
}

void Api::Post(ApiRequest request, bool always, Client::Done done) {
  auto answered = [work = boost::asio::make_work_guard(context_),
                   done = std::move(done)](Result<Response> answer) mutable {
    boost::asio::post(work.get_executor(), [done = std::move(done), answer = std::move(answer)]() mutable {
      done(std::move(answer));
    });
  };
  boost::asio::post(client_.context(),
                    [this, always, request = std::move(request), answered = std::move(answered)]() mutable {
                      if (!always && request.method != Method::kGet && !leads_())
                        return answered(Error(absl::StatusCode::kAborted, "this controller leads no more"));
                      client_.Send(std::move(request), std::move(answered));
                    });
}

}  // namespace weir::kubernetes
