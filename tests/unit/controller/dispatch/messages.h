// Short ways to make and read the messages of dispatch tests.
#pragma once

#include <grpcpp/impl/codegen/proto_utils.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "controller/dispatch/journal.h"

namespace weir::dispatch {

inline FrontendPtr MakeFrontend(uint32_t port, uint32_t canary_weight, size_t padding = 0) {
  auto frontend = std::make_shared<v1::Frontend>();
  frontend->mutable_key()->set_address(std::string("\x7f\x60\x00\x01", 4));
  frontend->mutable_key()->set_port(port);
  frontend->mutable_key()->set_protocol(v1::PROTOCOL_TCP);
  frontend->set_service(std::string(padding, 's'));
  frontend->add_variants()->set_weight(100 - canary_weight);
  frontend->add_variants()->set_weight(canary_weight);
  return frontend;
}

inline v1::FrontendKey MakeKey(uint32_t port) { return MakeFrontend(port, 0)->key(); }

inline v1::ControllerMessage Parse(const grpc::ByteBuffer& buffer) {
  grpc::ByteBuffer copy = buffer;
  v1::ControllerMessage message;
  EXPECT_TRUE(grpc::SerializationTraits<v1::ControllerMessage>::Deserialize(&copy, &message).ok());
  return message;
}

}  // namespace weir::dispatch
