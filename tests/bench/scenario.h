// The services that every system under test is given: the same addresses, the same share for the canary.
//
// Service i has the virtual address 127.96.0.1 + i, port 80, and endpoints 127.128.0.1 + i * count + j.
// Endpoint 0 is the canary's (port 8082), the others are stable's (port 8081): with five endpoints, equal
// chances for each and a split of 20 to 80 are the same thing, which is what kube-proxy can express.
#pragma once

#include <arpa/inet.h>

#include <cstdint>
#include <string>
#include <vector>

#include "agent/datapath/datapath.h"

namespace weir::bench {

constexpr uint16_t kVipPort = 80;
constexpr uint16_t kStablePort = 8081;
constexpr uint16_t kCanaryPort = 8082;
constexpr uint32_t kEndpointsPerService = 5;

struct Ipv4Port {
  uint32_t address = 0;  // host order
  uint16_t port = 0;
};

inline Ipv4Port Vip(uint32_t service) { return {0x7f600001U + service, kVipPort}; }
inline Ipv4Port Endpoint(uint32_t service, uint32_t place, uint32_t per_service = kEndpointsPerService) {
  return {0x7f800001U + service * per_service + place, place == 0 ? kCanaryPort : kStablePort};
}

inline std::string AddressText(const Ipv4Port& where) {
  const in_addr address{htonl(where.address)};
  char text[INET_ADDRSTRLEN] = {};
  return inet_ntop(AF_INET, &address, text, sizeof text);
}

inline SocketAddress ToSocketAddress(const Ipv4Port& where) {
  const uint32_t network = htonl(where.address);
  return {.address = *IpAddress::FromBytes({reinterpret_cast<const char*>(&network), sizeof network}),
          .port = where.port};
}

/// One Weir frontend. The first weight is the canary's, whose endpoint is number 0; the others share the
/// rest.
inline datapath::Frontend MakeFrontend(uint32_t service, const std::vector<uint32_t>& weights,
                                       uint32_t per_service, Protocol protocol) {
  datapath::Frontend frontend;
  frontend.key = {.address = ToSocketAddress(Vip(service)), .protocol = protocol};
  frontend.ns = "bench";
  frontend.service = "service-" + std::to_string(service);
  for (size_t i = 0; i < weights.size(); ++i) {
    frontend.variants.push_back({.revision = "v" + std::to_string(i), .weight = weights[i], .endpoints = {}});
  }
  for (uint32_t place = 0; place < per_service; ++place) {
    const size_t variant = place == 0 ? 0 : 1 + (place - 1) % (weights.size() - 1);
    frontend.variants[variant].endpoints.push_back(ToSocketAddress(Endpoint(service, place, per_service)));
  }
  return frontend;
}

/// All services of one size, over each of the protocols.
inline datapath::Change MakeChange(uint64_t generation, uint32_t services,
                                   const std::vector<uint32_t>& weights, uint32_t per_service,
                                   const std::vector<Protocol>& protocols = {Protocol::kTcp}) {
  datapath::Change change{.generation = generation,
                          .controller_id = "6f0d5a4e-2f0a-4f5e-9b6a-0d5a4e2f0a4f",
                          .full = true,
                          .upserts = {},
                          .removals = {}};
  for (uint32_t i = 0; i < services; ++i) {
    for (const Protocol protocol : protocols)
      change.upserts.push_back(MakeFrontend(i, weights, per_service, protocol));
  }
  return change;
}

}  // namespace weir::bench
