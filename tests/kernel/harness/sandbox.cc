#include "tests/kernel/harness/sandbox.h"

#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <thread>

namespace weir::kernel_test {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kPrefix = "weir-ktest-";

Sandbox sandbox;
volatile sig_atomic_t child_to_signal = 0;

void ForwardSignal(int signal_number) {
  if (child_to_signal > 0) kill(child_to_signal, signal_number);
}

[[noreturn]] void Die(const std::string& what) {
  std::cerr << "kernel test harness: " << what << ": " << std::strerror(errno) << "\n";
  std::abort();
}

/// Kills all in the subtree, waits until it is empty, removes it.
Status RemoveCgroupTree(const std::string& path) {
  if (!fs::exists(path)) return OkStatus();
  std::ofstream(path + "/cgroup.kill") << "1";
  const int events = open((path + "/cgroup.events").c_str(), O_RDONLY | O_CLOEXEC);
  if (events >= 0) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (std::chrono::steady_clock::now() < deadline) {
      char text[256] = {};
      if (pread(events, text, sizeof(text) - 1, 0) <= 0 || std::strstr(text, "populated 0") != nullptr) break;
      pollfd waiting{events, POLLPRI, 0};
      poll(&waiting, 1, 100);
    }
    close(events);
  }
  std::error_code error;
  std::vector<std::string> directories;
  for (auto it = fs::recursive_directory_iterator(path, error);
       !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    if (it->is_directory(error)) directories.push_back(it->path());
  }
  for (auto it = directories.rbegin(); it != directories.rend(); ++it) rmdir(it->c_str());
  if (rmdir(path.c_str()) != 0 && errno != ENOENT) return ErrnoStatus(errno, "remove cgroup " + path);
  return OkStatus();
}

std::string CgroupOfRun(const std::string& mount, pid_t pid) {
  return mount + "/" + std::string(kPrefix) + std::to_string(pid);
}

/// Subtrees whose test program has died without its supervisor.
void SweepLeftovers(const std::string& mount) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(mount, error)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with(kPrefix)) continue;
    const pid_t pid = std::atoi(name.c_str() + kPrefix.size());
    if (pid > 0 && kill(pid, 0) != 0 && errno == ESRCH) {
      if (auto status = RemoveCgroupTree(entry.path()); !status.ok()) std::cerr << Message(status) << "\n";
    }
  }
}

void ConfigureNetwork() {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING | IFF_LOOPBACK;
  if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) != 0) Die("bring lo up");
  close(fd);
  WriteFile("/proc/sys/net/ipv4/ip_local_port_range", "10000 65000");
  if (!fs::exists("/proc/sys/net/ipv6")) return;
  WriteFile("/proc/sys/net/ipv6/ip_nonlocal_bind", "1");
  if (std::system("ip -6 addr add fd00::1/128 dev lo nodad && ip -6 route add local fd00::/64 dev lo") != 0)
    Die("give lo fd00::/64 (is iproute2 installed?)");
}

/// Empty when all went well, else why tests cannot run.
std::string SetUp(const std::string& mount) {
  if (unshare(CLONE_NEWNS | CLONE_NEWNET) != 0)
    return std::string("unshare(mount, network): ") + std::strerror(errno) + "; run as root";
  if (mount.empty()) return "no cgroup2 mount in /proc/self/mountinfo";
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return std::string("make mounts private: ") + std::strerror(errno);
  if (::mount("bpf", "/sys/fs/bpf", "bpf", 0, nullptr) != 0)
    return std::string("mount a private bpffs on /sys/fs/bpf: ") + std::strerror(errno);
  sandbox.bpffs = "/sys/fs/bpf/weir-ktest";
  if (mkdir(sandbox.bpffs.c_str(), 0700) != 0) return "mkdir " + sandbox.bpffs + ": " + std::strerror(errno);
  sandbox.cgroup = CgroupOfRun(mount, getpid());
  const std::string own = sandbox.cgroup + "/harness";
  if (mkdir(sandbox.cgroup.c_str(), 0755) != 0 || mkdir(own.c_str(), 0755) != 0)
    return "mkdir " + own + ": " + std::strerror(errno);
  if (auto status = JoinCgroup(own); !status.ok()) return Message(status);
  ConfigureNetwork();
  return "";
}

}  // namespace

const Sandbox& TheSandbox() { return sandbox; }

void WriteFile(const std::string& path, const std::string& text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    Die("write '" + text + "' to " + path);
  close(fd);
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

Result<std::string> FindCgroup2() {
  std::ifstream file("/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const auto dash = line.find(" - ");
    if (dash == std::string::npos || !std::string_view(line).substr(dash + 3).starts_with("cgroup2 "))
      continue;
    std::istringstream fields(line);
    std::string id, parent, device, root, mount_point;
    fields >> id >> parent >> device >> root >> mount_point;
    return mount_point;
  }
  return NotFound("no cgroup2 mount in /proc/self/mountinfo");
}

Status JoinCgroup(const std::string& path) {
  const int fd = open((path + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "open " + path + "/cgroup.procs");
  const bool written = write(fd, "0", 1) == 1;
  const int error = errno;
  close(fd);
  return written ? OkStatus() : ErrnoStatus(error, "join " + path);
}

Cgroup::Cgroup(const std::string& parent, const std::string& name) : path_(parent + "/" + name) {
  if (mkdir(path_.c_str(), 0755) != 0) Die("mkdir " + path_);
}

Cgroup::~Cgroup() {
  if (auto status = Remove(); !status.ok()) std::cerr << "kernel test harness: " << Message(status) << "\n";
}

Status Cgroup::Remove() { return RemoveCgroupTree(path_); }

NetNamespace::NetNamespace() {
  std::thread([this] {
    if (unshare(CLONE_NEWNET) != 0) Die("unshare(network)");
    ConfigureNetwork();
    fd_ = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (fd_ < 0) Die("open /proc/thread-self/ns/net");
  }).join();
}

NetNamespace::~NetNamespace() { close(fd_); }

void RunInNamespace(int netns_fd, const std::function<void()>& function) {
  std::thread([&] {
    if (setns(netns_fd, CLONE_NEWNET) != 0) Die("setns(network)");
    function();
  }).join();
}

int RunInSandbox(const std::function<int()>& tests) {
  const auto mount = FindCgroup2();
  if (mount.ok()) SweepLeftovers(*mount);
  std::cout.flush();
  const pid_t child = fork();
  if (child < 0) Die("fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sandbox.skip_reason = SetUp(mount.ok() ? *mount : "");
    const int code = tests();
    std::cout.flush();
    std::cerr.flush();
    std::_Exit(code);
  }
  child_to_signal = child;
  for (int signal_number : {SIGINT, SIGTERM, SIGHUP}) signal(signal_number, ForwardSignal);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  child_to_signal = 0;
  if (mount.ok()) {
    if (auto removed = RemoveCgroupTree(CgroupOfRun(*mount, child)); !removed.ok())
      std::cerr << "kernel test harness: " << Message(removed) << "\n";
  }
  if (WIFSIGNALED(status)) {
    std::cerr << "kernel test harness: the test program died of signal " << WTERMSIG(status) << "\n";
    return 128 + WTERMSIG(status);
  }
  return WEXITSTATUS(status);
}

}  // namespace weir::kernel_test
