#include "tests/bench/rivals.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "tests/bench/scenario.h"
#include "tests/bench/worker.h"

namespace weir::bench {
namespace {

double Timed(const std::vector<std::string>& command, int netns_fd) {
  const auto begin = std::chrono::steady_clock::now();
  errno = 0;
  if (const int code = RunProgram(command, netns_fd); code != 0)
    Die(fmt::format("{} ended with code {}", command[0], code));
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void WriteText(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.close();
  if (!file) Die("write " + path);
}

/// pkg/proxy/iptables/proxier.go writeServiceToEndpointRules and its siblings: the linear KUBE-SERVICES, a
/// chain per service whose rules fire with probability 1/(n - i), a chain per endpoint. The pods' range is
/// all of 127/8, so nothing is masqueraded.
std::string IptablesText(uint32_t services) {
  std::string chains, jumps, rules;
  const auto out = [](std::string& text) { return std::back_inserter(text); };
  for (uint32_t i = 0; i < services; ++i) {
    const std::string vip = AddressText(Vip(i));
    const std::string name = fmt::format("bench/service-{}:http", i);
    fmt::format_to(out(chains), ":KUBE-SVC-{:016X} - [0:0]\n", i);
    fmt::format_to(
        out(jumps),
        "-A KUBE-SERVICES -m comment --comment \"{} cluster IP\" -m tcp -p tcp -d {} --dport {} -j "
        "KUBE-SVC-{:016X}\n",
        name, vip, kVipPort, i);
    fmt::format_to(
        out(rules),
        "-A KUBE-SVC-{:016X} -m comment --comment \"{} cluster IP\" -m tcp -p tcp -d {} --dport {} ! -s "
        "127.0.0.0/8 -j KUBE-MARK-MASQ\n",
        i, name, vip, kVipPort);
    for (uint32_t j = 0; j < kEndpointsPerService; ++j) {
      const Ipv4Port endpoint = Endpoint(i, j);
      const std::string to = fmt::format("{}:{}", AddressText(endpoint), endpoint.port);
      fmt::format_to(out(chains), ":KUBE-SEP-{:08X}{:08X} - [0:0]\n", i, j);
      fmt::format_to(out(rules), "-A KUBE-SVC-{:016X} -m comment --comment \"{} -> {}\"", i, name, to);
      if (j + 1 < kEndpointsPerService) {
        fmt::format_to(out(rules), " -m statistic --mode random --probability {:.10f}",
                       1.0 / (kEndpointsPerService - j));
      }
      fmt::format_to(out(rules), " -j KUBE-SEP-{:08X}{:08X}\n", i, j);
      fmt::format_to(out(rules), "-A KUBE-SEP-{:08X}{:08X} -m comment --comment {} -s {} -j KUBE-MARK-MASQ\n",
                     i, j, name, AddressText(endpoint));
      fmt::format_to(
          out(rules),
          "-A KUBE-SEP-{:08X}{:08X} -m comment --comment {} -m tcp -p tcp -j DNAT --to-destination {}\n", i,
          j, name, to);
    }
  }
  return "*filter\n:KUBE-SERVICES - [0:0]\n:KUBE-FIREWALL - [0:0]\n"
         "-A OUTPUT -m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j "
         "KUBE-SERVICES\n"
         "-A OUTPUT -j KUBE-FIREWALL\nCOMMIT\n"
         "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-NODEPORTS - [0:0]\n:KUBE-POSTROUTING - [0:0]\n:KUBE-MARK-MASQ "
         "- [0:0]\n" +
         chains +
         "-A OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n"
         "-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n"
         "-A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING\n"
         "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n"
         "-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000\n"
         "-A KUBE-POSTROUTING -j MASQUERADE --random-fully\n"
         "-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000\n" +
         jumps +
         "-A KUBE-SERVICES -m comment --comment \"kubernetes service nodeports; NOTE: this must be the last "
         "rule in "
         "this chain\" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\n" +
         rules + "COMMIT\n";
}

/// pkg/proxy/nftables/proxier.go syncProxyRules: one verdict map from address and port to the service's
/// chain.
constexpr const char* kNftablesBase =
    "table ip kube-proxy {\n"
    "chain mark-for-masquerade {\nmeta mark set meta mark or 0x4000\n}\n"
    "chain masquerading {\nmeta mark and 0x4000 == 0 return\nmeta mark set meta mark xor 0x4000\n"
    "masquerade fully-random\n}\n"
    "map service-ips {\ntype ipv4_addr . inet_proto . inet_service : verdict\n}\n"
    "map no-endpoint-services {\ntype ipv4_addr . inet_proto . inet_service : verdict\n}\n"
    "chain services {\nip daddr . meta l4proto . th dport vmap @service-ips\n}\n"
    "chain service-endpoints-check {\nip daddr . meta l4proto . th dport vmap @no-endpoint-services\n}\n"
    "chain filter-output {\ntype filter hook output priority 0; policy accept;\n"
    "ct state new jump service-endpoints-check\n}\n"
    "chain nat-prerouting {\ntype nat hook prerouting priority -100; policy accept;\njump services\n}\n"
    "chain nat-output {\ntype nat hook output priority -100; policy accept;\njump services\n}\n"
    "chain nat-postrouting {\ntype nat hook postrouting priority 100; policy accept;\njump masquerading\n}\n"
    "}\n";

/// What is added for the services [first, last).
std::string NftablesText(uint32_t first, uint32_t last) {
  std::string elements, chains;
  for (uint32_t i = first; i < last; ++i) {
    const std::string vip = AddressText(Vip(i));
    std::string choices;
    for (uint32_t j = 0; j < kEndpointsPerService; ++j) {
      const Ipv4Port endpoint = Endpoint(i, j);
      const std::string address = AddressText(endpoint);
      fmt::format_to(std::back_inserter(chains),
                     "chain endpoint-{}-{} {{\nip saddr {} jump mark-for-masquerade\n"
                     "meta l4proto tcp dnat to {}:{}\n}}\n",
                     i, j, address, address, endpoint.port);
      fmt::format_to(std::back_inserter(choices), "{}{} : goto endpoint-{}-{}", j == 0 ? "" : ", ", j, i, j);
    }
    fmt::format_to(
        std::back_inserter(chains),
        "chain service-{} {{\nip daddr {} tcp dport {} ip saddr != 127.0.0.0/8 jump mark-for-masquerade\n"
        "numgen random mod {} vmap {{ {} }}\n}}\n",
        i, vip, kVipPort, kEndpointsPerService, choices);
    fmt::format_to(std::back_inserter(elements), "{}{} . tcp . {} : goto service-{}", i == first ? "" : ",\n",
                   vip, kVipPort, i);
  }
  return "table ip kube-proxy {\n" + chains + "}\nadd element ip kube-proxy service-ips {\n" + elements +
         "\n}\n";
}

std::string HaproxyText(uint32_t services, const std::string& pid_file) {
  std::string text = fmt::format(
      "global\n  nbthread 1\n  maxconn 1000\n  pidfile {}\n"
      "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n",
      pid_file);
  for (uint32_t i = 0; i < services; ++i) {
    fmt::format_to(std::back_inserter(text), "listen service-{}\n  bind {}:{}\n  balance roundrobin\n", i,
                   AddressText(Vip(i)), kVipPort);
    for (uint32_t j = 0; j < kEndpointsPerService; ++j) {
      const Ipv4Port endpoint = Endpoint(i, j);
      fmt::format_to(std::back_inserter(text), "  server e{} {}:{} weight 20\n", j, AddressText(endpoint),
                     endpoint.port);
    }
  }
  return text;
}

}  // namespace

double LoadIptables(uint32_t services, int netns_fd, const std::string& directory) {
  const std::string path = fmt::format("{}/iptables-{}", directory, services);
  WriteText(path, IptablesText(services));
  return Timed({"iptables-legacy-restore", path}, netns_fd);
}

double LoadNftables(uint32_t services, int netns_fd, const std::string& directory) {
  // One transaction's time grows with the square of its size: as kube-proxy does after its start, add in
  // parts.
  constexpr uint32_t kPart = 500;
  const std::string path = fmt::format("{}/nftables-{}", directory, services);
  WriteText(path, kNftablesBase);
  double seconds = Timed({"nft", "-f", path}, netns_fd);
  for (uint32_t first = 0; first < services; first += kPart) {
    WriteText(path, NftablesText(first, std::min(services, first + kPart)));
    seconds += Timed({"nft", "-f", path}, netns_fd);
  }
  return seconds;
}

Haproxy::Haproxy(uint32_t services, int netns_fd, const std::string& directory) {
  const std::string path = fmt::format("{}/haproxy-{}", directory, services);
  WriteText(path, HaproxyText(services, path + ".pid"));
  start_seconds_ = Timed({"haproxy", "-D", "-f", path}, netns_fd);  // returns once it listens
  std::ifstream(path + ".pid") >> pid_;
  if (pid_ <= 0) Die("read " + path + ".pid");
}

Haproxy::~Haproxy() { EndProcess(pid_, SIGKILL); }

}  // namespace weir::bench
