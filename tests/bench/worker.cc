#include "tests/bench/worker.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/bench/scenario.h"
#include "tests/kernel/harness/sandbox.h"

namespace weir::bench {
namespace {

constexpr int kPatienceMs = 5000;

uint64_t NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

/// xorshift32 (Marsaglia 2003): which service is dialled next.
uint32_t Draw(uint32_t& state) {
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

int Listen(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(fd, 1024) != 0)
    Die("listen on port " + std::to_string(port));
  return fd;
}

sockaddr_in Target(const Order& order, uint32_t& random) {
  const uint32_t drawn = Draw(random);
  const uint32_t service = drawn % order.services;
  const Ipv4Port where = order.direct != 0
                             ? Endpoint(service, drawn / 65536 % order.per_service, order.per_service)
                             : Vip(service);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(where.port);
  address.sin_addr.s_addr = htonl(where.address);
  return address;
}

class Dialler {
 public:
  Dialler() : stable_(Listen(kStablePort)), canary_(Listen(kCanaryPort)) {}

  Sample Udp(const sockaddr_in& target) const {
    const UniqueFd client(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const uint64_t begin = NowNs();
    const int result = connect(client.get(), reinterpret_cast<const sockaddr*>(&target), sizeof target);
    const uint64_t end = NowNs();
    if (result != 0) Die("UDP connect");
    return {.connect_ns = static_cast<uint32_t>(end - begin), .first_byte_ns = 0, .canary = 0};
  }

  /// False with errno when connect() fails.
  bool Tcp(const sockaddr_in& target, Sample& sample) const {
    const UniqueFd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const linger reset{.l_onoff = 1, .l_linger = 0};
    setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    const uint64_t begin = NowNs();
    const int result = connect(client.get(), reinterpret_cast<const sockaddr*>(&target), sizeof target);
    const uint64_t connected = NowNs();
    if (result != 0) return false;
    char byte = 'w';
    if (send(client.get(), &byte, 1, MSG_NOSIGNAL) != 1) Die("send to the server");
    const UniqueFd server(Accept(sample));
    WaitFor(server.get(), "a byte at the server");
    if (recv(server.get(), &byte, 1, 0) != 1 || send(server.get(), &byte, 1, MSG_NOSIGNAL) != 1)
      Die("echo at the server");
    if (recv(client.get(), &byte, 1, 0) != 1) Die("receive from the server");
    const uint64_t echoed = NowNs();
    sample.connect_ns = static_cast<uint32_t>(connected - begin);
    sample.first_byte_ns = static_cast<uint32_t>(echoed - begin);
    return true;
  }

 private:
  int Accept(Sample& sample) const {
    pollfd waiting[2] = {{stable_.get(), POLLIN, 0}, {canary_.get(), POLLIN, 0}};
    if (poll(waiting, 2, kPatienceMs) <= 0) Die("no connection reached a server");
    sample.canary = (waiting[1].revents & POLLIN) != 0 ? 1 : 0;
    const int fd = accept4(waiting[sample.canary].fd, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) Die("accept");
    return fd;
  }

  static void WaitFor(int fd, const char* what) {
    pollfd waiting{fd, POLLIN, 0};
    if (poll(&waiting, 1, kPatienceMs) <= 0) Die(std::string("waited for ") + what);
  }

  UniqueFd stable_, canary_;
};

void Put(int fd, const void* data, size_t bytes) {
  for (const char* at = static_cast<const char*>(data); bytes > 0;) {
    const ssize_t written = send(fd, at, bytes, MSG_NOSIGNAL);
    if (written <= 0) Die("worker's socket: send");
    at += written;
    bytes -= static_cast<size_t>(written);
  }
}

bool Get(int fd, void* data, size_t bytes) {
  for (char* at = static_cast<char*>(data); bytes > 0;) {
    const ssize_t got = recv(fd, at, bytes, 0);
    if (got <= 0) return false;
    at += got;
    bytes -= static_cast<size_t>(got);
  }
  return true;
}

Sample Once(const Dialler& dialler, const Order& order, uint32_t& random) {
  const sockaddr_in target = Target(order, random);
  if (order.kind == Order::Kind::kUdp) return dialler.Udp(target);
  Sample sample;
  if (!dialler.Tcp(target, sample)) Die("connect to port " + std::to_string(ntohs(target.sin_port)));
  return sample;
}

LoadReport Load(const Dialler& dialler, const Order& order, int commands) {
  LoadReport report;
  uint32_t random = order.seed;
  for (pollfd stop{commands, POLLIN, 0}; poll(&stop, 1, 0) == 0;) {
    for (int i = 0; i < 16; ++i) {
      Sample sample;
      if (dialler.Tcp(Target(order, random), sample)) {
        ++report.connections;
        report.canary += sample.canary;
      } else {
        ++report.failed;
      }
    }
  }
  char command = 0;
  if (!Get(commands, &command, 1)) Die("worker's socket: stop");
  return report;
}

[[noreturn]] void Serve(int commands, int netns_fd, const std::string& cgroup, int cpu) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (!cgroup.empty()) {
    if (auto status = kernel_test::JoinCgroup(cgroup); !status.ok()) Die(Message(status));
  }
  if (netns_fd >= 0 && setns(netns_fd, CLONE_NEWNET) != 0) Die("setns");
  if (cpu >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<size_t>(cpu), &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) Die("sched_setaffinity");
  }
  const Dialler dialler;
  for (Order order; Get(commands, &order, sizeof order) && order.kind != Order::Kind::kQuit;) {
    if (order.kind == Order::Kind::kLoad) {
      const LoadReport report = Load(dialler, order, commands);
      Put(commands, &report, sizeof report);
      continue;
    }
    uint32_t random = order.seed;
    for (uint32_t i = 0; i < order.warm_up; ++i) Once(dialler, order, random);
    std::vector<Sample> samples;
    samples.reserve(order.count);
    for (uint32_t i = 0; i < order.count; ++i) samples.push_back(Once(dialler, order, random));
    Put(commands, samples.data(), samples.size() * sizeof(Sample));
  }
  std::_Exit(0);
}

}  // namespace

void Die(const std::string& what) {
  std::fprintf(stderr, "bench: %s: %s\n", what.c_str(), std::strerror(errno));
  std::_Exit(1);
}

Child::Child(int socket_type, const std::function<void(int)>& serve) {
  int ends[2];
  if (socketpair(AF_UNIX, socket_type | SOCK_CLOEXEC, 0, ends) != 0) Die("socketpair");
  socket_.Reset(ends[0]);
  std::fflush(stdout);
  pid_ = fork();
  if (pid_ < 0) Die("fork");
  if (pid_ == 0) {
    socket_.Reset();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    serve(ends[1]);
    std::_Exit(1);
  }
  close(ends[1]);
}

Child::~Child() {
  shutdown(socket_.get(), SHUT_RDWR);
  waitpid(pid_, nullptr, 0);
}

Worker::Worker(std::string name, int netns_fd, const std::string& cgroup, int cpu)
    : name_(std::move(name)),
      child_(SOCK_STREAM, [&](int commands) { Serve(commands, netns_fd, cgroup, cpu); }) {}

Worker::~Worker() {
  const Order quit{.kind = Order::Kind::kQuit};
  Put(child_.socket(), &quit, sizeof quit);
}

std::vector<Sample> Worker::Run(const Order& order) {
  Put(child_.socket(), &order, sizeof order);
  std::vector<Sample> samples(order.count);
  if (!Get(child_.socket(), samples.data(), samples.size() * sizeof(Sample)))
    Die("worker " + name_ + " died");
  return samples;
}

void Worker::Start(const Order& order) { Put(child_.socket(), &order, sizeof order); }

LoadReport Worker::Stop() {
  Put(child_.socket(), "s", 1);
  LoadReport report;
  if (!Get(child_.socket(), &report, sizeof report)) Die("worker " + name_ + " died");
  return report;
}

void EndProcess(pid_t pid, int signal_number) {
  const UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!process.valid()) return;  // gone already
  syscall(SYS_pidfd_send_signal, process.get(), signal_number, nullptr, 0);
  pollfd ended{process.get(), POLLIN, 0};
  if (poll(&ended, 1, kPatienceMs) <= 0) Die("process " + std::to_string(pid) + " did not end");
}

int RunProgram(const std::vector<std::string>& arguments, int netns_fd) {
  std::vector<char*> argv;
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  std::fflush(stdout);
  const pid_t pid = fork();
  if (pid < 0) Die("fork");
  if (pid == 0) {
    if (netns_fd >= 0 && setns(netns_fd, CLONE_NEWNET) != 0) Die("setns");
    execvp(argv[0], argv.data());
    Die(std::string("run ") + argv[0]);
  }
  int status = 0;
  if (waitpid(pid, &status, 0) != pid) Die("waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace weir::bench
