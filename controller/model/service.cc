// v1/Service, as `kubectl get -o yaml` writes it.
#include <fmt/format.h>

#include <set>

#include "controller/model/kinds.h"

namespace weir::model {
namespace {

constexpr int64_t kMaxAffinitySeconds = 86400;
constexpr int64_t kDefaultAffinitySeconds = 10800;

bool IsNone(const Cursor& field) { return field.node().text == "None"; }

/// It has no address that clients dial. Others may lead to its endpoints.
bool IsHeadless(const Cursor& spec) {
  const auto ip = spec.Find("clusterIP");
  const auto ips = spec.Find("clusterIPs");
  const auto only_none = [](const Cursor& list) {
    return list.node().items.size() == 1 && list.node().items[0]->text == "None";
  };
  return (ip || ips) && (!ip || IsNone(*ip)) && (!ips || only_none(*ips));
}

void ReadClusterIp(const Cursor& field, Service& service) {
  if (IsNone(field)) {
    return field.Fail("an IPv4 or IPv6 address",
                      "None is the one value of a headless Service, in clusterIP and in clusterIPs");
  }
  const auto address = field.Address();
  if (!address) return;
  for (const IpAddress& other : service.cluster_ips) {
    if (other == *address) return field.Fail("each address once", "remove one of them");
    if (other.family() == address->family()) {
      return field.Fail(fmt::format("one address per address family, after {}", other.ToString()),
                        "give one IPv4 and one IPv6 address, or make two Services");
    }
  }
  service.cluster_ips.push_back(*address);
}

void ReadClusterIps(const Cursor& spec, Service& service) {
  const auto ips = spec.Find("clusterIPs");
  const auto ip = spec.Find("clusterIP");
  if (!ips) {
    const auto only = spec.Require("clusterIP", "the IPv4 or IPv6 address that clients dial");
    if (only) ReadClusterIp(*only, service);
    return;
  }
  const auto items = ips->Items();
  for (const Cursor& item : items) ReadClusterIp(item, service);
  if (items.empty() && ips->node().kind == YamlNode::Kind::kSequence) {
    ips->Fail("one address, or one per address family", "or leave clusterIPs out and give clusterIP");
  }
  if (!ip) return;
  const auto first = IsNone(*ip) ? std::nullopt : ip->Address();
  if (first && !service.cluster_ips.empty() && service.cluster_ips.front() != *first) {
    ip->Fail(fmt::format("the first of clusterIPs, {}", service.cluster_ips.front().ToString()));
  }
}

void ReadFamilies(const Cursor& spec, const Service& service) {
  if (const auto policy = spec.Find("ipFamilyPolicy")) {
    policy->OneOf({"SingleStack", "PreferDualStack", "RequireDualStack"});
  }
  const auto families = spec.Find("ipFamilies");
  if (!families) return;
  const auto items = families->Items();
  for (size_t i = 0; i < items.size(); ++i) {
    const auto family = items[i].OneOf({"IPv4", "IPv6"});
    if (!family || i >= service.cluster_ips.size()) continue;
    const bool is_v6 = service.cluster_ips[i].family() == AddressFamily::kIPv6;
    if (is_v6 != (*family == "IPv6")) {
      items[i].Fail(
          fmt::format("the family of the address in the same place, {}", service.cluster_ips[i].ToString()));
    }
  }
}

/// `http`: the Service asks for all its TCP ports. One that says it speaks something else is not meant.
ServicePort ReadPort(const Cursor& item, bool only, bool http) {
  ServicePort port;
  if (!item.ExpectMap({"name", "port", "protocol", "targetPort", "nodePort", "appProtocol"})) return port;
  if (const auto number = item.Require("port", "an integer from 1 to 65535")) {
    port.port = number->Port().value_or(0);
  }
  if (const auto protocol = item.Find("protocol")) {
    port.protocol = protocol->TransportProtocol().value_or(Protocol::kTcp);
  }
  port.name = item.StringAt("name").value_or("");
  if (port.name.empty() && !only) {
    item.Require("name", "a name, as the Service has several ports");
  } else if (!port.name.empty() && !IsDnsLabel(port.name)) {
    item.Find("name")->Fail("at most 63 lower-case letters, digits and '-'");
  }
  if (const auto node_port = item.Find("nodePort")) node_port->Integer(0, 65535);
  // Kubernetes' word: values that are not http (https, grpc, kubernetes.io/h2c) are none of HTTP/1.x in
  // plaintext.
  const auto app_protocol = item.StringAt("appProtocol");
  port.http = port.protocol == Protocol::kTcp && (app_protocol ? *app_protocol == "http" : http);
  if (const auto target = item.Find("targetPort")) {
    const YamlNode& node = target->node();
    const bool number = node.plain && TypeOfPlain(node.text) != PlainType::kString;
    if (number) {
      target->Port();
    } else {
      target->String();
    }
  }
  return port;
}

void ReadPorts(const Cursor& spec, bool http, bool headless, Service& service) {
  if (headless && !spec.Find("ports")) return;  // it is a list of names
  const auto ports = spec.Require("ports", "a list of at least one port");
  if (!ports) return;
  const auto items = ports->Items();
  if (items.empty() && ports->node().kind == YamlNode::Kind::kSequence)
    ports->Fail("a list of at least one port");
  std::set<std::string> names;
  std::set<std::pair<uint16_t, Protocol>> numbers;
  for (const Cursor& item : items) {
    ServicePort port = ReadPort(item, items.size() == 1, http);
    if (!port.name.empty() && !names.insert(port.name).second) {
      item.Find("name")->Fail("names that differ", "rename one of the ports");
    }
    if (port.port != 0 && !numbers.emplace(port.port, port.protocol).second) {
      item.FailText(Complaint(fmt::format("port {}/{} a second time", port.port, ProtocolName(port.protocol)),
                              "each port and protocol once", "remove one of them"));
    }
    service.ports.push_back(std::move(port));
  }
}

void ReadAffinity(const Cursor& spec, Service& service) {
  const auto affinity = spec.Find("sessionAffinity");
  const auto wanted = affinity ? affinity->OneOf({"None", "ClientIP"}) : std::nullopt;
  int64_t seconds = kDefaultAffinitySeconds;
  if (const auto config = spec.Find("sessionAffinityConfig"); config && config->ExpectMap({"clientIP"})) {
    if (const auto client_ip = config->Find("clientIP");
        client_ip && client_ip->ExpectMap({"timeoutSeconds"})) {
      if (const auto timeout = client_ip->Find("timeoutSeconds")) {
        seconds = timeout->Integer(1, kMaxAffinitySeconds).value_or(seconds);
      }
    }
    if (wanted != "ClientIP" && (wanted || !affinity)) {
      config->Fail("it together with sessionAffinity: ClientIP only",
                   "set sessionAffinity: ClientIP, or remove it");
    }
  }
  if (wanted == "ClientIP") service.client_ip_affinity = std::chrono::seconds{seconds};
}

}  // namespace

Service ReadService(const Cursor& document, const Metadata& metadata) {
  Service service;
  service.key = metadata.key;
  service.created = metadata.created;
  document.ExpectMap({"apiVersion", "kind", "metadata", "spec", "status"});
  const auto spec = document.Require("spec", "a map with clusterIP and ports");
  if (!spec || !spec->ExpectMap({"clusterIP",
                                 "clusterIPs",
                                 "ports",
                                 "sessionAffinity",
                                 "sessionAffinityConfig",
                                 "type",
                                 "selector",
                                 "ipFamilies",
                                 "ipFamilyPolicy",
                                 "internalTrafficPolicy",
                                 "externalTrafficPolicy",
                                 "externalIPs",
                                 "externalName",
                                 "loadBalancerIP",
                                 "loadBalancerClass",
                                 "loadBalancerSourceRanges",
                                 "allocateLoadBalancerNodePorts",
                                 "healthCheckNodePort",
                                 "publishNotReadyAddresses",
                                 "trafficDistribution"})) {
    return service;
  }
  if (const auto type = spec->Find("type")) {
    if (type->node().text == "ExternalName") {
      // It has neither address nor ports: nothing else would be worth a word.
      type->Fail("ClusterIP, NodePort or LoadBalancer",
                 "an ExternalName Service is a DNS name without an address; dial that name");
      return service;
    }
    type->OneOf({"ClusterIP", "NodePort", "LoadBalancer"});
  }
  if (const auto policy = spec->Find("internalTrafficPolicy")) {
    policy->OneOf({"Cluster"}, "Weir chooses among the endpoints of all nodes");
  }
  if (const auto policy = spec->Find("externalTrafficPolicy")) policy->OneOf({"Cluster", "Local"});
  spec->BooleanAt("publishNotReadyAddresses");
  const bool headless = IsHeadless(*spec);
  if (!headless) ReadClusterIps(*spec, service);
  ReadFamilies(*spec, service);
  ReadPorts(*spec, metadata.http, headless, service);
  ReadAffinity(*spec, service);
  return service;
}

}  // namespace weir::model
