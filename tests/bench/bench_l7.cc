// What recognising HTTP costs: wrk to nginx over kept connections; the programs' own time; and a packet of a
// connection that is nobody's concern while the packet programs are attached.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <memory>

#include "tests/bench/node.h"
#include "tests/bench/scenario.h"
#include "tests/bench/settings.h"
#include "tests/bench/stats.h"
#include "tests/bench/web.h"
#include "tests/bench/worker.h"

namespace weir::bench {
namespace {

using kernel_test::Cgroup;

datapath::Change OneService(bool http) {
  datapath::Change change = MakeChange(1, 1, {20, 80}, kEndpointsPerService);
  change.upserts[0].http = http;
  return change;
}

// ---- wrk ----

struct Way {
  std::string name;
  std::string cgroup;
  Ipv4Port target;
  std::vector<double> rates, microseconds;  // requests a second; CPU of both ends per request
};

void RunWrk(Way& way, const std::string& server, int seconds) {
  const auto used = [&] { return ProcessorMicroseconds(way.cgroup) + ProcessorMicroseconds(server); };
  const double before = used();
  way.rates.push_back(Wrk(way.cgroup, way.target, seconds));
  way.microseconds.push_back((used() - before) / (way.rates.back() * seconds));
}

void CompareWays(std::array<Way, 4>& ways, const std::string& server, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    for (size_t turn = 0; turn < ways.size(); ++turn)
      RunWrk(ways[(static_cast<size_t>(round) + turn) % ways.size()], server, 1);
  }
  std::vector<std::vector<std::string>> rows;
  for (const Way& way : ways) {
    const Spread rate = SpreadOf(way.rates);
    const Spread cost = SpreadOf(way.microseconds);
    rows.push_back({way.name, Number(rate.median, 0), Range(rate, 0),
                    Number(Median(Ratios(way.rates, ways[0].rates)), 3), Number(cost.median, 2),
                    Range(cost, 2), Number(Median(Ratios(way.microseconds, ways[0].microseconds)), 3),
                    Signed(Median(Differences(way.microseconds, ways[0].microseconds)), 2)});
  }
  PrintTable({"way", "requests/s", "p10 - p90", "ratio", "CPU us/request", "p10 - p90", "ratio", "us more"},
             rows);
}

// ---- the programs' own time ----

struct RunTime {
  uint64_t nanoseconds = 0, runs = 0;
};

/// Of the one program attached to the cgroup there.
RunTime RunTimeOf(const std::string& cgroup, bpf_attach_type hook) {
  const UniqueFd directory(open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  uint32_t id = 0, count = 1;
  if (bpf_prog_query(directory.get(), hook, 0, nullptr, &id, &count) != 0 || count != 1)
    Die("find the packet program of " + cgroup);
  const UniqueFd program(bpf_prog_get_fd_by_id(id));
  bpf_prog_info info{};
  uint32_t size = sizeof info;
  if (!program.valid() || bpf_obj_get_info_by_fd(program.get(), &info, &size) != 0)
    Die("read a program's run time");
  return {info.run_time_ns, info.run_cnt};
}

void ShowRunTimes(const Way& l7, int rounds) {
  constexpr std::array<std::pair<const char*, bpf_attach_type>, 2> kPrograms = {
      {{"weir_egress", BPF_CGROUP_INET_EGRESS}, {"weir_ingress", BPF_CGROUP_INET_INGRESS}}};
  // For its own rounds: the measuring costs two readings of the clock a run.
  const UniqueFd measuring(bpf_enable_stats(BPF_STATS_RUN_TIME));
  if (!measuring.valid()) Die("bpf_enable_stats");
  std::array<std::vector<double>, 2> per_run, per_exchange, runs;
  std::vector<double> sums;
  for (int round = 0; round < rounds; ++round) {
    std::array<RunTime, 2> before, after;
    for (size_t i = 0; i < 2; ++i) before[i] = RunTimeOf(l7.cgroup, kPrograms[i].second);
    const double requests = Wrk(l7.cgroup, l7.target, 1);
    for (size_t i = 0; i < 2; ++i) after[i] = RunTimeOf(l7.cgroup, kPrograms[i].second);
    double sum = 0;
    for (size_t i = 0; i < 2; ++i) {
      const auto took = static_cast<double>(after[i].nanoseconds - before[i].nanoseconds);
      const auto times = static_cast<double>(after[i].runs - before[i].runs);
      per_run[i].push_back(took / times);
      runs[i].push_back(times / requests);
      per_exchange[i].push_back(took / requests);
      sum += took / requests;
    }
    sums.push_back(sum);
  }
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < 2; ++i) {
    const Spread spread = SpreadOf(per_exchange[i]);
    rows.push_back({kPrograms[i].first, Number(Median(runs[i])), Number(Median(per_run[i]), 0),
                    Number(spread.median, 0), Range(spread, 0)});
  }
  const Spread both = SpreadOf(sums);
  rows.push_back({"both", "", "", Number(both.median, 0), Range(both, 0)});
  PrintTable({"program", "runs per exchange", "ns per run", "ns per exchange", "p10 - p90"}, rows);
}

// ---- a connection that is not ours ----

/// A process that holds both ends of one connection, pinned to one CPU, so that a byte's way there and back
/// is the kernel's work alone.
class PingPong {
 public:
  explicit PingPong(const std::string& cgroup)
      : child_(SOCK_STREAM, [&](int orders) { Serve(orders, cgroup); }) {}

  /// Nanoseconds a round trip, over so many.
  double Run(uint32_t times) {
    double took = 0;
    if (send(child_.socket(), &times, sizeof times, MSG_NOSIGNAL) != sizeof times ||
        recv(child_.socket(), &took, sizeof took, MSG_WAITALL) != sizeof took)
      Die("the ping-pong's process died");
    return took;
  }

 private:
  static void Pass(int from, int to) {
    char byte = 'w';
    if (send(from, &byte, 1, MSG_NOSIGNAL) != 1 || recv(to, &byte, 1, 0) != 1) Die("ping-pong");
  }

  [[noreturn]] static void Serve(int orders, const std::string& cgroup) {
    if (auto status = kernel_test::JoinCgroup(cgroup); !status.ok()) Die(Message(status));
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(0, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) Die("sched_setaffinity");
    const UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const UniqueFd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* where = reinterpret_cast<sockaddr*>(&address);
    if (bind(listener.get(), where, size) != 0 || listen(listener.get(), 1) != 0 ||
        getsockname(listener.get(), where, &size) != 0 || connect(client.get(), where, size) != 0)
      Die("ping-pong: connect");
    const UniqueFd server(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    const int on = 1;
    for (const int fd : {client.get(), server.get()})
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    for (uint32_t times = 0; recv(orders, &times, sizeof times, MSG_WAITALL) == sizeof times && times > 0;) {
      timespec begin{}, end{};
      clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
      for (uint32_t i = 0; i < times; ++i) {
        Pass(client.get(), server.get());
        Pass(server.get(), client.get());
      }
      clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
      const double took = (static_cast<double>(end.tv_sec - begin.tv_sec) * 1e9 +
                           static_cast<double>(end.tv_nsec - begin.tv_nsec)) /
                          times;
      if (send(orders, &took, sizeof took, MSG_NOSIGNAL) != sizeof took) break;
    }
    std::_Exit(0);
  }

  Child child_;
};

void CompareStrangers(const Cgroup& bare, Node& split, Node& l7, int rounds) {
  PingPong none(bare.path()), without(split.cgroup()), with(l7.cgroup());
  std::array<std::pair<const char*, PingPong*>, 4> ways = {
      {{"no hooks", &none}, {"no hooks, again", &none}, {"split only", &without}, {"split + L7", &with}}};
  std::array<std::vector<double>, 4> took;
  for (int round = 0; round < rounds; ++round) {
    for (size_t turn = 0; turn < ways.size(); ++turn) {
      const size_t way = (static_cast<size_t>(round) + turn) % ways.size();
      took[way].push_back(ways[way].second->Run(2000));
    }
  }
  std::vector<std::vector<std::string>> rows;
  for (size_t way = 0; way < ways.size(); ++way) {
    const Spread spread = SpreadOf(took[way]);
    rows.push_back({ways[way].first, Number(spread.median, 0), Range(spread, 0),
                    Signed(Median(Differences(took[way], took[0])) / 2, 0)});
  }
  PrintTable({"a byte there and back", "CPU ns", "p10 - p90", "ns more per packet, sent and received"}, rows);
}

}  // namespace

void BenchL7(const Settings& settings) {
  const Cgroup bare("l7-direct"), server("l7-server");
  Node split("l7-split"), l7("l7-http");
  split.Apply(OneService(false));
  l7.Apply(OneService(true));
  {
    const Nginx nginx(server.path());
    std::array<Way, 4> ways = {{{"direct", bare.path(), Endpoint(0, 1), {}, {}},
                                {"direct, again", bare.path(), Endpoint(0, 1), {}, {}},
                                {"split only", split.cgroup(), Vip(0), {}, {}},
                                {"split + L7", l7.cgroup(), Vip(0), {}, {}}}};
    PrintHeading("HTTP recognised",
                 "wrk with 16 connections kept alive to nginx, one second each, in turn. CPU of client and "
                 "server (cpu.stat).");
    CompareWays(ways, server.path(), settings.quick ? 4 : 15);
    ShowRunTimes(ways[3], settings.quick ? 3 : 9);
  }
  PrintHeading(
      "A packet that is not ours",
      "One byte over a connection to an address that is no service's; the packet programs are attached "
      "in the last row only.");
  CompareStrangers(bare, split, l7, settings.quick ? 15 : 101);
}

}  // namespace weir::bench
