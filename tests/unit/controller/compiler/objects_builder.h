// Objects in a line each, and frontends as readable text.
#pragma once

#include <cctype>
#include <string>
#include <utility>
#include <vector>

#include "common/net.h"
#include "controller/compiler/compiler.h"
#include "controller/model/objects.h"

namespace weir::compiler {

inline constexpr char kNamespace[] = "shop";

inline IpAddress Address(std::string_view text) { return IpAddress::Parse(text).value(); }
inline model::ObjectKey Key(std::string name) { return {kNamespace, std::move(name)}; }

inline model::Service MakeService(std::string name, const std::vector<std::string>& vips,
                                  std::vector<model::ServicePort> ports = {{"http", 80, Protocol::kTcp}}) {
  model::Service service{.key = Key(std::move(name)), .ports = std::move(ports)};
  for (const std::string& vip : vips) service.cluster_ips.push_back(Address(vip));
  return service;
}

/// Endpoints are addresses; "!" before one: terminating, "-": not ready. The family is the first one's.
inline model::EndpointSlice MakeSlice(std::string name, std::string service,
                                      std::map<std::string, std::string> labels,
                                      const std::vector<std::string>& endpoints,
                                      std::vector<model::SlicePort> ports = {
                                          {"http", 8080, Protocol::kTcp}}) {
  model::EndpointSlice slice{.key = Key(std::move(name)),
                             .service = std::move(service),
                             .labels = std::move(labels),
                             .ports = std::move(ports)};
  for (const std::string& text : endpoints) {
    const bool terminating = text[0] == '!', not_ready = text[0] == '-';
    const auto state = terminating ? model::EndpointState::kTerminating
                       : not_ready ? model::EndpointState::kNotReady
                                   : model::EndpointState::kReady;
    slice.endpoints.push_back({Address(text.substr(terminating || not_ready ? 1 : 0)), state});
  }
  if (!slice.endpoints.empty()) slice.family = slice.endpoints[0].address.family();
  return slice;
}

inline std::map<std::string, std::string> Revision(std::string value) {
  return {{"weir.dev/revision", std::move(value)}};
}

inline model::Rollout MakeRollout(std::string name, std::string service) {
  return {.key = Key(std::move(name)), .service = std::move(service)};
}

/// Blue-green, with a preview Service.
inline model::Rollout MakeBlueGreen(std::string name, std::string service, std::string preview) {
  model::Rollout rollout = MakeRollout(std::move(name), std::move(service));
  rollout.preview_service = std::move(preview);
  rollout.spec.blue_green.emplace();
  return rollout;
}

/// ROLE_STABLE -> "stable".
inline std::string RoleWord(v1::Role role) {
  std::string word = v1::Role_Name(role).substr(5);
  for (char& c : word) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return word;
}

/// "127.96.0.1:80/TCP checkout:http | stable v1*80: 127.0.1.1:8081 | canary v2*20:"
inline std::string ToText(const v1::Frontend& frontend) {
  const auto address = [](const auto& message) {
    return ToString(SocketAddress{IpAddress::FromBytes(message.address()).value(),
                                  static_cast<uint16_t>(message.port())});
  };
  std::string text = address(frontend.key()) +
                     (frontend.key().protocol() == v1::PROTOCOL_TCP ? "/TCP " : "/UDP ") +
                     frontend.service() + ":" + frontend.port_name();
  for (const v1::Variant& variant : frontend.variants()) {
    text += " | " + RoleWord(variant.role()) + " " + variant.revision() + "*" +
            std::to_string(variant.weight()) + ":";
    for (const v1::Endpoint& endpoint : variant.endpoints()) text += " " + address(endpoint);
  }
  return text;
}

inline std::vector<std::string> ToText(const Frontends& frontends) {
  std::vector<std::string> lines;
  for (const auto& [key, frontend] : frontends) lines.push_back(ToText(frontend));
  return lines;
}

}  // namespace weir::compiler
