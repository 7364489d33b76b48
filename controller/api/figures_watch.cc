#include "controller/api/figures_watch.h"

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>

namespace weir::api {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kUsualInterval{1000}, kLeastInterval{100}, kMostInterval{60'000};

}  // namespace

// Deleted on the io_context after OnDone, behind every handler it posted.
class FiguresReactor final : public grpc::ServerWriteReactor<v1::FiguresResponse> {
 public:
  FiguresReactor(FiguresHub& hub, const v1::FiguresRequest& request)
      : hub_(hub),
        request_(request),
        interval_(request.interval_ms() == 0 ? kUsualInterval : milliseconds(request.interval_ms())),
        timer_(hub.context_) {
    boost::asio::post(hub_.context_, [this] { Begin(); });
  }

  void OnWriteDone(bool ok) override {
    boost::asio::post(hub_.context_, [this, ok] {
      writing_ = false;
      if (!ok) Close(grpc::Status::OK);
      FinishIfClosing();
    });
  }
  void OnCancel() override {
    boost::asio::post(hub_.context_, [this] { Close(grpc::Status::CANCELLED); });
  }
  void OnDone() override {
    boost::asio::post(hub_.context_, [this] {
      hub_.watchers_.erase(this);
      timer_.cancel();
      // Behind the handler of the timer, which may be queued already.
      boost::asio::post(hub_.context_, [this] { delete this; });
    });
  }

  void Close(const grpc::Status& status) {
    if (closing_) return;
    closing_ = true;
    status_ = status;
    timer_.cancel();
    FinishIfClosing();
  }

 private:
  void Begin() {
    hub_.watchers_.insert(this);
    if (hub_.shut_down_) return Close(hub_.shutdown_status_);
    if (interval_ < kLeastInterval || interval_ > kMostInterval) {
      return Close({grpc::StatusCode::INVALID_ARGUMENT,
                    fmt::format("interval_ms: found {}, expected {} to {}", interval_.count(),
                                kLeastInterval.count(), kMostInterval.count())});
    }
    next_ = std::chrono::steady_clock::now();
    Tick();
  }

  void Tick() {
    if (closing_) return;
    if (!writing_) Write();
    if (closing_) return;
    // At its pace, but without making good what a busy controller missed.
    next_ = std::max(next_ + interval_, std::chrono::steady_clock::now());
    timer_.expires_at(next_);
    timer_.async_wait([this](boost::system::error_code error) {
      if (!error) Tick();
    });
  }

  void Write() {
    auto figures = hub_.backend_.ListFigures(request_);
    if (!figures.ok()) {
      return Close({static_cast<grpc::StatusCode>(figures.status().code()), Message(figures.status())});
    }
    response_ = *std::move(figures);
    writing_ = true;
    StartWrite(&response_);
  }

  void FinishIfClosing() {
    if (!closing_ || writing_ || std::exchange(finished_, true)) return;
    Finish(status_);
  }

  FiguresHub& hub_;
  const v1::FiguresRequest request_;
  const milliseconds interval_;
  boost::asio::steady_timer timer_;
  std::chrono::steady_clock::time_point next_;
  v1::FiguresResponse response_;
  grpc::Status status_;
  bool writing_ = false, closing_ = false, finished_ = false;
};

void FiguresHub::Shutdown(const grpc::Status& status) {
  shut_down_ = true;
  shutdown_status_ = status;
  for (FiguresReactor* watcher : watchers_) watcher->Close(status);
}

grpc::ServerWriteReactor<v1::FiguresResponse>* FiguresHub::NewWatch(const v1::FiguresRequest& request) {
  return new FiguresReactor(*this, request);
}

}  // namespace weir::api
