// weir.v1.AgentService over gRPC's callback API: one reactor per agent, which carries messages to the
// dispatcher's io_context and back.
#pragma once

#include <boost/asio/io_context.hpp>

#include "controller/dispatch/dispatcher.h"
#include "weir/v1/agent.grpc.pb.h"

namespace weir::dispatch {

/// Reactors run on gRPC's threads, copy a message, post it and return; the next message of a stream is read
/// once the dispatcher has taken the one before. The dispatcher is only touched on the io_context.
///
/// Shutdown: Dispatcher::Shutdown on the io_context; then grpc::Server::Shutdown on another thread, while the
/// io_context runs; then the io_context may stop. Both arguments must outlive the server.
class AgentServiceImpl final
    : public v1::AgentService::WithRawCallbackMethod_Connect<v1::AgentService::Service> {
 public:
  AgentServiceImpl(boost::asio::io_context& context, Dispatcher& dispatcher)
      : context_(context), dispatcher_(dispatcher) {}

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Connect(
      grpc::CallbackServerContext* call) override;

 private:
  boost::asio::io_context& context_;
  Dispatcher& dispatcher_;
};

}  // namespace weir::dispatch
