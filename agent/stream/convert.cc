#include "agent/stream/convert.h"

#include <set>
#include <string>
#include <string_view>

namespace weir::stream {
namespace {

Result<SocketAddress> ToSocketAddress(std::string_view bytes, uint32_t port) {
  const auto address = IpAddress::FromBytes(bytes);
  if (!address) return InvalidArgument("address: found {} bytes, expected 4 or 16", bytes.size());
  if (address->is_unspecified() || address->is_multicast()) {
    return InvalidArgument("address: found {}, expected one that can be connected to", address->ToString());
  }
  if (port == 0 || port > 65535) return InvalidArgument("port: found {}, expected 1..65535", port);
  return SocketAddress{*address, static_cast<uint16_t>(port)};
}

Result<datapath::OnEmpty> ToOnEmpty(v1::OnEmpty value) {
  switch (value) {
    case v1::ON_EMPTY_UNSPECIFIED:
    case v1::ON_EMPTY_PASS:
      return datapath::OnEmpty::kPass;
    case v1::ON_EMPTY_REFUSE:
      return datapath::OnEmpty::kRefuse;
    case v1::ON_EMPTY_REFUSE_SHARE:
      return datapath::OnEmpty::kRefuseShare;
    default:
      return InvalidArgument("on_empty: found {}, which this agent does not know; upgrade it",
                             static_cast<int>(value));
  }
}

Result<datapath::Variant> ToVariant(const v1::Variant& wire, const SocketAddress& frontend) {
  if (wire.weight() > kMaxWeight) {
    return InvalidArgument("weight: found {}, expected 0..{}", wire.weight(), kMaxWeight);
  }
  datapath::Variant variant;
  variant.revision = wire.revision();
  variant.weight = wire.weight();
  variant.endpoints.reserve(static_cast<size_t>(wire.endpoints_size()));
  for (int i = 0; i < wire.endpoints_size(); ++i) {
    const auto endpoint = ToSocketAddress(wire.endpoints(i).address(), wire.endpoints(i).port());
    if (!endpoint.ok()) return Annotate(endpoint.status(), fmt::format("endpoints[{}]", i));
    if (endpoint->address.family() != frontend.address.family()) {
      return InvalidArgument("endpoints[{}]: found {}, expected the frontend's address family", i,
                             ToString(*endpoint));
    }
    if (*endpoint == frontend) {
      return InvalidArgument("endpoints[{}]: found {}, the frontend's own address: a loop", i,
                             ToString(*endpoint));
    }
    variant.endpoints.push_back(*endpoint);
  }
  return variant;
}

}  // namespace

std::string ToString(const datapath::FrontendKey& key) {
  return fmt::format("{} {}", ProtocolName(key.protocol), weir::ToString(key.address));
}

Result<datapath::FrontendKey> ToKey(const v1::FrontendKey& key) {
  ASSIGN_OR_RETURN(const SocketAddress address, ToSocketAddress(key.address(), key.port()));
  switch (key.protocol()) {
    case v1::PROTOCOL_TCP:
      return datapath::FrontendKey{address, Protocol::kTcp};
    case v1::PROTOCOL_UDP:
      return datapath::FrontendKey{address, Protocol::kUdp};
    default:
      return InvalidArgument("protocol: found {}, expected TCP (6) or UDP (17)",
                             static_cast<int>(key.protocol()));
  }
}

Result<datapath::Frontend> ToFrontend(const v1::Frontend& wire) {
  const auto where = [&] { return fmt::format("frontend of {}/{}", wire.namespace_(), wire.service()); };
  const auto key = ToKey(wire.key());
  if (!key.ok()) return Annotate(key.status(), where());
  const auto on_empty = ToOnEmpty(wire.on_empty());
  if (!on_empty.ok()) return Annotate(on_empty.status(), where());
  if (wire.variants_size() > kMaxVariants) {
    return InvalidArgument("{} ({}): found {} variants, expected at most {}", where(), ToString(*key),
                           wire.variants_size(), kMaxVariants);
  }
  datapath::Frontend frontend;
  frontend.key = *key;
  frontend.ns = wire.namespace_();
  frontend.service = wire.service();
  frontend.affinity_timeout_s = wire.affinity_timeout_seconds();
  frontend.on_empty = *on_empty;
  frontend.http = wire.http() && key->protocol == Protocol::kTcp;
  std::set<std::string_view> revisions;
  for (const v1::Variant& variant : wire.variants()) {
    auto converted = ToVariant(variant, key->address);
    const auto context = [&] {
      return fmt::format("{} ({}), variant {:?}", where(), ToString(*key),
                         std::string_view(variant.revision()));
    };
    if (!converted.ok()) return Annotate(converted.status(), context());
    if (!revisions.insert(variant.revision()).second) {
      return InvalidArgument("{}: found twice, expected one variant per revision", context());
    }
    frontend.variants.push_back(*std::move(converted));
  }
  return frontend;
}

v1::FrontendKey FromKey(const datapath::FrontendKey& key) {
  v1::FrontendKey wire;
  wire.set_address(key.address.address.ToBytes());
  wire.set_port(key.address.port);
  wire.set_protocol(key.protocol == Protocol::kTcp ? v1::PROTOCOL_TCP : v1::PROTOCOL_UDP);
  return wire;
}

v1::SplitCount FromSplitCount(const datapath::SplitCount& count) {
  v1::SplitCount wire;
  *wire.mutable_key() = FromKey(count.key);
  for (const datapath::SplitCount::Entry& entry : count.variants) {
    v1::VariantCount* variant = wire.add_variants();
    variant->set_revision(entry.revision);
    variant->set_weight(entry.weight);
    variant->set_connections(entry.connections);
  }
  return wire;
}

}  // namespace weir::stream
