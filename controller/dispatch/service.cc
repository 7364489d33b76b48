#include "controller/dispatch/service.h"

#include <boost/asio/post.hpp>
#include <utility>

namespace weir::dispatch {
namespace {

// Deleted on the io_context after OnDone, so that no handler posted before meets a dead reactor.
class AgentReactor final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>, public Stream {
 public:
  AgentReactor(boost::asio::io_context& context, Dispatcher& dispatcher, grpc::CallbackServerContext* call)
      : context_(context), dispatcher_(dispatcher), call_(call) {
    boost::asio::post(context_, [this] {
      dispatcher_.OnOpened(this);
      StartRead(&incoming_);
    });
  }

  // gRPC's threads.
  void OnReadDone(bool ok) override {
    if (!ok) {
      // The agent closed its side or is gone.
      boost::asio::post(context_, [this] { Close(grpc::Status::OK); });
      return;
    }
    v1::AgentMessage message;
    grpc::Status parsed = grpc::SerializationTraits<v1::AgentMessage>::Deserialize(&incoming_, &message);
    boost::asio::post(context_, [this, parsed, message = std::move(message)] {
      if (!parsed.ok())
        return Close({grpc::StatusCode::INVALID_ARGUMENT, "a message that is no AgentMessage"});
      dispatcher_.OnMessage(this, message);
      if (message.has_hello()) {
        // Behind the hellos that are queued already: one transaction numbers them all.
        boost::asio::post(context_, [&dispatcher = dispatcher_] { dispatcher.WelcomePending(); });
      }
      if (!finished_) StartRead(&incoming_);
    });
  }

  void OnWriteDone(bool ok) override {
    boost::asio::post(context_, [this, ok] {
      writing_ = false;
      dispatcher_.OnWritten(this);
      if (!ok) Close(grpc::Status::OK);
      FinishIfIdle();
    });
  }

  void OnCancel() override {
    boost::asio::post(context_, [this] { Close(grpc::Status::CANCELLED); });
  }

  void OnDone() override {
    boost::asio::post(context_, [this] {
      dispatcher_.OnClosed(this);
      delete this;
    });
  }

  // The io_context's thread.
  void Write(const grpc::ByteBuffer& message) override {
    if (finished_) return;
    outgoing_ = message;
    writing_ = true;
    StartWrite(&outgoing_);
  }

  void Close(const grpc::Status& status) override {
    if (closing_) return;
    closing_ = true;
    status_ = status;
    FinishIfIdle();
  }

  void Abort() override {
    if (aborted_ || finished_)
      return;  // after Finish only the transport can be waiting, and keepalive ends that
    aborted_ = true;
    call_->TryCancel();
  }

 private:
  void FinishIfIdle() {
    if (!closing_ || writing_ || finished_) return;
    finished_ = true;
    Finish(status_);
  }

  boost::asio::io_context& context_;
  Dispatcher& dispatcher_;
  grpc::CallbackServerContext* call_;  // valid until OnDone
  grpc::ByteBuffer incoming_, outgoing_;
  grpc::Status status_;
  bool writing_ = false, closing_ = false, finished_ = false, aborted_ = false;
};

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* AgentServiceImpl::Connect(
    grpc::CallbackServerContext* call) {
  return new AgentReactor(context_, dispatcher_, call);
}

}  // namespace weir::dispatch
