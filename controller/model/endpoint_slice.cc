// discovery.k8s.io/v1 EndpointSlice, as `kubectl get -o yaml` writes it.
#include <fmt/format.h>

#include <set>
#include <unordered_set>

#include "controller/model/kinds.h"

namespace weir::model {
namespace {

constexpr std::string_view kServiceLabel = "kubernetes.io/service-name";

void ReadServiceLabel(const Cursor& document, const Metadata& metadata, EndpointSlice& slice) {
  const auto label = metadata.labels.find(std::string(kServiceLabel));
  if (label != metadata.labels.end() && IsDnsLabel(label->second)) {
    slice.service = label->second;
    return;
  }
  const auto map = document.Find("metadata");
  if (!map) return;  // has been said
  const auto labels = map->Find("labels");
  const auto value = labels ? labels->Find(kServiceLabel) : std::nullopt;
  if (value) {
    if (label != metadata.labels.end()) value->Fail("the name of the Service whose endpoints these are");
  } else {
    (labels ? *labels : *map)
        .FailText(Complaint(fmt::format("no label {}", kServiceLabel),
                            "the name of the Service whose endpoints these are",
                            fmt::format("add metadata.labels: {{{}: NAME}}", kServiceLabel)));
  }
}

void ReadPorts(const Cursor& document, EndpointSlice& slice) {
  const auto ports = document.Find("ports");
  if (!ports) return;  // Kubernetes writes null while nothing is ready
  std::set<std::string> names;
  const auto items = ports->Items();
  for (const Cursor& item : items) {
    SlicePort port;
    if (!item.ExpectMap({"name", "port", "protocol", "appProtocol"})) continue;
    if (const auto number = item.Require("port", "an integer from 1 to 65535")) {
      port.port = number->Port().value_or(0);
    }
    if (const auto protocol = item.Find("protocol")) {
      port.protocol = protocol->TransportProtocol().value_or(Protocol::kTcp);
    }
    port.name = item.StringAt("name").value_or("");
    if (!port.name.empty() && !IsDnsLabel(port.name)) {
      item.Find("name")->Fail("at most 63 lower-case letters, digits and '-'");
    }
    if (!names.insert(port.name).second) {
      item.FailText(Complaint(port.name.empty()
                                  ? "a second port without a name"
                                  : fmt::format("the port name {} a second time", Quote(port.name)),
                              "names that differ", "rename one of the ports"));
    }
    item.StringAt("appProtocol");
    slice.ports.push_back(std::move(port));
  }
}

/// KEP-1672. Absent: ready is true, serving is what ready is, terminating is false.
EndpointState ReadConditions(const Cursor& item) {
  const auto conditions = item.Find("conditions");
  if (!conditions || !conditions->ExpectMap({"ready", "serving", "terminating"}))
    return EndpointState::kReady;
  const bool ready = conditions->BooleanAt("ready").value_or(true);
  const bool serving = conditions->BooleanAt("serving").value_or(ready);
  const bool terminating = conditions->BooleanAt("terminating").value_or(false);
  if (ready) return EndpointState::kReady;
  return serving && terminating ? EndpointState::kTerminating : EndpointState::kNotReady;
}

void ReadEndpoints(const Cursor& document, std::optional<AddressFamily> family, EndpointSlice& slice) {
  const auto endpoints = document.Find("endpoints");
  if (!endpoints) return;
  std::unordered_set<IpAddress> seen;
  const auto items = endpoints->Items();
  slice.endpoints.reserve(items.size());
  for (const Cursor& item : items) {
    if (!item.ExpectMap({"addresses", "conditions", "hostname", "nodeName", "zone", "targetRef", "hints",
                         "deprecatedTopology"})) {
      continue;
    }
    const EndpointState state = ReadConditions(item);
    const auto list = item.Require("addresses", "a list of one address");
    if (!list) continue;
    const auto addresses = list->Items();
    if (addresses.size() != 1 && list->node().kind == YamlNode::Kind::kSequence) {
      // By Kubernetes' rule they would be one endpoint with several names, and only the first would be
      // dialled.
      list->FailText(Complaint(fmt::format("{} addresses", addresses.size()), "one address",
                               "make each address an endpoint of its own"));
    }
    for (const Cursor& place : addresses) {
      const auto address = place.Address();
      if (!address) continue;
      if (family && address->family() != *family) {
        place.Fail(fmt::format("an {} address as addressType says",
                               *family == AddressFamily::kIPv4 ? "IPv4" : "IPv6"),
                   "put the other family's addresses into a slice of their own");
        continue;
      }
      // In a cluster two pods may have their node's address, the one that goes and the one that comes.
      if (!seen.insert(*address).second)
        place.FailText(Complaint(place.Found(), "each address once", "remove one of them"),
                       /*of_people=*/true);
      slice.endpoints.push_back({*address, state});
    }
  }
}

}  // namespace

EndpointSlice ReadEndpointSlice(const Cursor& document, const Metadata& metadata) {
  EndpointSlice slice;
  slice.key = metadata.key;
  slice.labels = metadata.labels;
  document.ExpectMap({"apiVersion", "kind", "metadata", "addressType", "ports", "endpoints"});
  ReadServiceLabel(document, metadata, slice);
  std::optional<AddressFamily> family;
  if (const auto type = document.Require("addressType", "IPv4 or IPv6")) {
    if (type->node().text == "FQDN") {
      type->Fail("IPv4 or IPv6", "the kernel connects to addresses, not to names; list the addresses");
    } else if (const auto name = type->OneOf({"IPv4", "IPv6"})) {
      family = *name == "IPv4" ? AddressFamily::kIPv4 : AddressFamily::kIPv6;
      slice.family = *family;
    }
  }
  ReadPorts(document, slice);
  ReadEndpoints(document, family, slice);
  return slice;
}

}  // namespace weir::model
