// connect() through Weir, beside none at all, kube-proxy's rules and HAProxy.
#include <fmt/format.h>
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
  bool udp = false;
  uint32_t per_service = kEndpointsPerService;
  std::unique_ptr<Worker> worker;
  std::vector<double> connect_us, first_byte_us, udp_us;  // medians, one per round
};

class Field {
 public:
  explicit Field(const Settings& settings) : settings_(settings) {}

  void Add(const std::string& system, uint32_t services, bool direct, bool udp, const std::string& cgroup,
           int netns_fd, uint32_t per_service = kEndpointsPerService) {
    Contender contender{
        .system = system, .services = services, .direct = direct, .udp = udp, .per_service = per_service};
    contender.worker =
        std::make_unique<Worker>(fmt::format("{}/{}", system, services), netns_fd, cgroup, kCpu);
    contenders_.push_back(std::move(contender));
  }

  int NewNamespace() { return namespaces_.emplace_back().fd(); }

  /// All contenders once a round, starting with another one each time.
  void Measure() {
    for (uint32_t round = 0; round < settings_.rounds(); ++round) {
      for (size_t i = 0; i < contenders_.size(); ++i) {
        MeasureTcp(contenders_[(i + round * 7) % contenders_.size()], round);
      }
      for (size_t i = 0; i < contenders_.size(); ++i) {
        Contender& contender = contenders_[(i + round * 7) % contenders_.size()];
        if (contender.udp) MeasureUdp(contender, round);
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
  std::deque<Haproxy> proxies;
  Field field(settings);
  std::vector<std::vector<std::string>> loads;
  std::string directory =
      fmt::format("{}/weir-bench-XXXXXX", std::filesystem::temp_directory_path().string());
  if (mkdtemp(directory.data()) == nullptr) Die("mkdtemp " + directory);

  for (const uint32_t services : settings.sizes())
    field.Add(kDirect, services, true, true, "", field.NewNamespace());
  field.Add("direct, again", 1, true, true, "", field.NewNamespace());
  const auto add_weir = [&](const std::string& system, uint32_t services,
                            const std::vector<uint32_t>& weights, uint32_t per_service) {
    Node& node =
        nodes.emplace_back(fmt::format("connect-{}-{}-{}", services, weights.size(), per_service), 2);
    node.Apply(MakeChange(1, services, weights, per_service, true));
    field.Add(system, services, false, true, node.cgroup(), field.NewNamespace(), per_service);
  };
  for (const uint32_t services : settings.sizes()) add_weir("Weir 20/80", services, {20, 80}, 5);
  field.Add("Weir, not a virtual address", settings.sizes().back(), true, true, nodes.back().cgroup(),
            field.NewNamespace());
  add_weir("Weir 20/30/50", 1, {20, 30, 50}, 5);
  if (!settings.quick) add_weir("Weir 20/80, 100,000 endpoints", 10000, {20, 80}, 10);
  for (const uint32_t services : settings.sizes()) {
    const int iptables = field.NewNamespace();
    const double iptables_s = LoadIptables(services, iptables, directory);
    field.Add("kube-proxy iptables", services, false, false, "", iptables);
    const int nftables = field.NewNamespace();
    const double nftables_s = LoadNftables(services, nftables, directory);
    field.Add("kube-proxy nftables", services, false, false, "", nftables);
    const int haproxy = field.NewNamespace();
    proxies.emplace_back(services, haproxy, directory);
    field.Add("HAProxy TCP", services, false, false, "", haproxy);
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
