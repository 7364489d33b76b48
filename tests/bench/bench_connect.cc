// connect() through Weir, beside none at all, kube-proxy's rules and HAProxy.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <memory>

#include "tests/bench/node.h"
#include "tests/bench/rivals.h"
#include "tests/bench/scenario.h"
#include "tests/bench/settings.h"
#include "tests/bench/stats.h"
#include "tests/bench/worker.h"

namespace weir::bench {
namespace {

constexpr const char* kDirect = "direct";
constexpr int kCpu = 1;  // dials and accepts; the other is left to whatever else runs

/// A system at one size, and what was measured of it.
struct Contender {
  std::string system;
  uint32_t services = 1;
  bool direct = false;
  bool tcp = true, udp = false;
  uint32_t per_service = kEndpointsPerService;
  Node* node = nullptr;  // whose tracepoint is there while this one has its turn; the others' are not
  std::string cgroup = {};
  int netns_fd = -1;
  std::unique_ptr<Worker> worker = {};
  std::vector<double> connect_us = {}, first_byte_us = {}, udp_us = {};  // medians, one per round
};

class Field {
 public:
  explicit Field(const Settings& settings) : settings_(settings) {}

  /// In a new namespace unless it names one.
  void Add(Contender contender) {
    if (contender.netns_fd < 0) contender.netns_fd = NewNamespace();
    contender.worker = std::make_unique<Worker>(fmt::format("{}/{}", contender.system, contender.services),
                                                contender.netns_fd, contender.cgroup, kCpu);
    contenders_.push_back(std::move(contender));
  }

  int NewNamespace() { return namespaces_.emplace_back().fd(); }

  /// All contenders once a round, starting with another one each time.
  void Measure() {
    for (uint32_t round = 0; round < settings_.rounds(); ++round) {
      for (size_t i = 0; i < contenders_.size(); ++i) {
        Contender& contender = contenders_[(i + round * 7) % contenders_.size()];
        if (contender.node != nullptr) contender.node->SetTracepoint(true);
        if (contender.tcp) MeasureTcp(contender, round);
        if (contender.udp) MeasureUdp(contender, round);
        if (contender.node != nullptr) contender.node->SetTracepoint(false);
      }
    }
  }

  const std::vector<Contender>& contenders() const { return contenders_; }

 private:
  Order MakeOrder(const Contender& contender, uint32_t round, Order::Kind kind, uint32_t count) const {
    return {.kind = kind,
            .direct = contender.direct ? 1U : 0U,
            .count = count,
            .warm_up = count / 5,
            .services = contender.services,
            .per_service = contender.per_service,
            .seed = 1 + round};
  }

  void MeasureTcp(Contender& contender, uint32_t round) {
    std::vector<double> connect, first_byte;
    for (const Sample& sample :
         contender.worker->Run(MakeOrder(contender, round, Order::Kind::kTcp, settings_.connects()))) {
      connect.push_back(sample.connect_ns / 1e3);
      first_byte.push_back(sample.first_byte_ns / 1e3);
    }
    contender.connect_us.push_back(Median(connect));
    contender.first_byte_us.push_back(Median(first_byte));
  }

  void MeasureUdp(Contender& contender, uint32_t round) {
    std::vector<double> connect;
    for (const Sample& sample :
         contender.worker->Run(MakeOrder(contender, round, Order::Kind::kUdp, 5 * settings_.connects()))) {
      connect.push_back(sample.connect_ns / 1e3);
    }
    contender.udp_us.push_back(Median(connect));
  }

  Settings settings_;
  std::deque<kernel_test::NetNamespace> namespaces_;
  std::vector<Contender> contenders_;
};

/// Every service is divided otherwise for one namespace, too.
datapath::Change WithConsumers(datapath::Change change, uint32_t consumers) {
  const std::vector<datapath::Frontend> everybodys = change.upserts;
  for (datapath::Frontend& frontend : change.upserts) frontend.has_consumers = true;
  for (datapath::Frontend own : everybodys) {
    own.key.consumers = consumers;
    change.upserts.push_back(std::move(own));
  }
  return change;
}

/// Where a kubelet would have put a container's process.
struct PodCgroup {
  kernel_test::Cgroup kubepods, burstable, pod, container;
  explicit PodCgroup(const std::string& node)
      : kubepods(node, "kubepods"),
        burstable(kubepods.path(), "burstable"),
        pod(burstable.path(), "pod1"),
        container(pod.path(), "container") {}

  /// bpf_get_current_ancestor_cgroup_id()'s.
  uint64_t id() const {
    struct stat about {};
    if (stat(pod.path().c_str(), &about) != 0) Die("stat " + pod.path());
    return about.st_ino;
  }
};

/// Differences and ratios are to direct connections to as many addresses, in the same round.
void PrintComparison(const std::vector<Contender>& all, std::vector<double> Contender::*samples) {
  std::vector<std::vector<std::string>> rows;
  for (const Contender& contender : all) {
    const std::vector<double>& medians = contender.*samples;
    if (medians.empty()) continue;
    const auto direct = std::find_if(all.begin(), all.end(), [&](const Contender& other) {
      return other.system == kDirect && other.services == contender.services;
    });
    const Spread spread = SpreadOf(medians);
    rows.push_back({contender.system, std::to_string(contender.services), Number(spread.median),
                    Range(spread), Signed(Median(Differences(medians, (*direct).*samples))),
                    Number(Median(Ratios(medians, (*direct).*samples)))});
  }
  PrintTable({"system", "services", "median us", "p10 - p90 of rounds", "over direct us", "ratio"}, rows);
}

}  // namespace

void BenchConnect(const Settings& settings) {
  std::deque<Node> nodes;  // go after the workers in their cgroups
  std::deque<PodCgroup> pods;
  std::deque<Haproxy> proxies;
  Field field(settings);
  std::vector<std::vector<std::string>> loads;
  std::string directory =
      fmt::format("{}/weir-bench-XXXXXX", std::filesystem::temp_directory_path().string());
  if (mkdtemp(directory.data()) == nullptr) Die("mkdtemp " + directory);

  for (const uint32_t services : settings.sizes())
    field.Add({.system = kDirect, .services = services, .direct = true, .udp = true});
  field.Add({.system = "direct, again", .direct = true, .udp = true});
  const auto new_node = [&](const std::string& name, uint32_t services, const std::vector<uint32_t>& weights,
                            uint32_t per_service, std::vector<Protocol> protocols) -> Node& {
    Node& node = nodes.emplace_back("connect-" + name, 2);
    node.Apply(MakeChange(1, services, weights, per_service, protocols));
    node.SetTracepoint(false);
    return node;
  };
  // A node for each protocol: one that has a service over UDP sees the packets of TCP as well.
  const auto add_weir = [&](const std::string& system, uint32_t services,
                            const std::vector<uint32_t>& weights, uint32_t per_service) {
    for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
      const bool tcp = protocol == Protocol::kTcp;
      Node& node =
          new_node(fmt::format("{}-{}-{}-{}", tcp ? "tcp" : "udp", services, weights.size(), per_service),
                   services, weights, per_service, {protocol});
      field.Add({.system = system,
                 .services = services,
                 .tcp = tcp,
                 .udp = !tcp,
                 .per_service = per_service,
                 .node = &node,
                 .cgroup = node.cgroup()});
    }
  };
  const uint32_t most = settings.sizes().back();
  for (const uint32_t services : settings.sizes()) add_weir("Weir 20/80", services, {20, 80}, 5);
  Node& both = new_node("both", most, {20, 80}, 5, {Protocol::kTcp, Protocol::kUdp});
  field.Add({.system = "Weir 20/80, services over UDP beside",
             .services = most,
             .node = &both,
             .cgroup = both.cgroup()});
  Node& tcp_only = nodes[2 * (settings.sizes().size() - 1)];
  field.Add({.system = "Weir, not a virtual address",
             .services = most,
             .direct = true,
             .udp = true,
             .node = &tcp_only,
             .cgroup = tcp_only.cgroup()});
  field.Add({.system = "Weir, not in its cgroup", .services = most, .direct = true, .node = &tcp_only});
  // Services that one namespace has divided for itself: for its pods, and for all others.
  for (const uint32_t services : settings.sizes()) {
    if (services != 1 && services != 1000) continue;
    constexpr uint32_t kConsumers = 7;
    Node& node = nodes.emplace_back(fmt::format("connect-consumers-{}", services), 2);
    node.Apply(WithConsumers(MakeChange(1, services, {20, 80}, 5, {Protocol::kTcp}), kConsumers));
    node.SetTracepoint(false);
    const PodCgroup& pod = pods.emplace_back(node.cgroup());
    if (const Status status = node.datapath().SetPods({{pod.id(), kConsumers}}); !status.ok())
      Die(Message(status));
    field.Add({.system = "Weir 20/80, a pod with its own",
               .services = services,
               .node = &node,
               .cgroup = pod.container.path()});
    field.Add({.system = "Weir 20/80, where others have their own",
               .services = services,
               .node = &node,
               .cgroup = node.cgroup()});
  }
  add_weir("Weir 20/30/50", 1, {20, 30, 50}, 5);
  if (!settings.quick) add_weir("Weir 20/80, 100,000 endpoints", most, {20, 80}, 10);
  for (const uint32_t services : settings.sizes()) {
    const int iptables = field.NewNamespace();
    const double iptables_s = LoadIptables(services, iptables, directory);
    field.Add({.system = "kube-proxy iptables", .services = services, .netns_fd = iptables});
    const int nftables = field.NewNamespace();
    const double nftables_s = LoadNftables(services, nftables, directory);
    field.Add({.system = "kube-proxy nftables", .services = services, .netns_fd = nftables});
    const int haproxy = field.NewNamespace();
    proxies.emplace_back(services, haproxy, directory);
    field.Add({.system = "HAProxy TCP", .services = services, .netns_fd = haproxy});
    loads.push_back({std::to_string(services), Number(iptables_s), Number(nftables_s),
                     Number(proxies.back().start_seconds())});
  }
  field.Measure();
  std::filesystem::remove_all(directory);

  PrintHeading("connect() over TCP",
               "Time in connect() alone, to a listening server. HAProxy accepts for the server, "
               "so its connect() says nothing of the way behind it: see the next table.");
  PrintComparison(field.contenders(), &Contender::connect_us);
  PrintHeading("First byte",
               "From connect() until one byte has been to the server and back: what a client waits "
               "for. The server runs on the client's thread; only HAProxy adds processes to schedule.");
  PrintComparison(field.contenders(), &Contender::first_byte_us);
  PrintHeading("connect() over UDP",
               "No packet is sent: the hook, the per-socket record and nothing else. "
               "kube-proxy's rules act on packets, so they have no row here.");
  PrintComparison(field.contenders(), &Contender::udp_us);
  PrintHeading("Loading the rivals' rules, s", "Once, from nothing; nft in transactions of 500 services.");
  PrintTable({"services", "iptables-legacy-restore", "nft -f", "haproxy -D"}, loads);
}

}  // namespace weir::bench
