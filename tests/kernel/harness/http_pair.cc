#include "tests/kernel/harness/http_pair.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <thread>

namespace weir::kernel_test {
namespace {

[[noreturn]] void Die(const std::string& what) {
  std::cerr << "kernel test HTTP pair: " << what << ": " << std::strerror(errno) << "\n";
  std::abort();
}

void NoDelay(const Socket& socket) {
  const int on = 1;
  setsockopt(socket.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

constexpr std::array<bpf_attach_type, 2> kDirections = {BPF_CGROUP_INET_EGRESS, BPF_CGROUP_INET_INGRESS};

}  // namespace

HttpListener::HttpListener(const SocketAddress& address, int protocol)
    : socket_(Socket::Open(ToSockAddr(address).family(), SOCK_STREAM, protocol)) {
  const int on = 1;
  setsockopt(socket_.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (!socket_.Bind(address).ok() || listen(socket_.fd(), 64) != 0) Die("listen");
}

Socket HttpListener::Accept() {
  Socket out(accept(socket_.fd(), nullptr, nullptr));
  if (out.fd() < 0) Die("accept");
  const timeval deadline{.tv_sec = kSocketTimeout.count(), .tv_usec = 0};
  setsockopt(out.fd(), SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
  setsockopt(out.fd(), SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof deadline);
  NoDelay(out);
  return out;
}

HttpPair::HttpPair(TestNode& node, const SocketAddress& vip, HttpListener& listener, int protocol)
    : client_(node.OpenSocket(ToSockAddr(vip).family(), SOCK_STREAM, protocol)) {
  if (const int error = client_.Connect(vip); error != 0) {
    errno = error;
    Die("connect");
  }
  NoDelay(client_);
  server_ = listener.Accept();
}

void HttpPair::Pass(Socket& from, Socket& to, const std::string& text) {
  const auto send = [&] {
    if (!from.Send(text).ok()) Die("send");
  };
  // More than fits into the sockets is read while it is sent.
  std::thread sender;
  if (text.size() > 30000) {
    sender = std::thread(send);
  } else {
    send();
  }
  std::string read;
  while (read.size() < text.size()) {
    const auto piece = to.Receive();
    if (!piece.ok() || piece->empty()) Die("receive");
    read += *piece;
  }
  if (sender.joinable()) sender.join();
  if (read != text) Die("what was read is not what was sent");
}

void HttpPair::ResetByServer() {
  const linger hard{.l_onoff = 1, .l_linger = 0};
  setsockopt(server_.fd(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  server_.Close();
  pollfd wanted{.fd = client_.fd(), .events = POLLIN, .revents = 0};
  if (poll(&wanted, 1, 10000) != 1) Die("no reset");
  client_.Close();
}

LossyCgroup::LossyCgroup(const std::string& cgroup, int one_in) {
  const auto instruction = [](uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm) {
    bpf_insn out{};
    out.code = code;
    out.dst_reg = dst & 15U;
    out.src_reg = src & 15U;
    out.off = off;
    out.imm = imm;
    return out;
  };
  // Headers alone are 72 bytes at most: what is lost of a handshake takes a second to be repeated.
  const std::vector<bpf_insn> code = {
      instruction(BPF_LDX | BPF_W | BPF_MEM, 6, 1, offsetof(__sk_buff, len), 0),
      instruction(BPF_JMP | BPF_JLE | BPF_K, 6, 0, 4, 80),
      instruction(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_get_prandom_u32),
      instruction(BPF_ALU | BPF_MOD | BPF_K, 0, 0, 0, one_in),
      instruction(BPF_JMP | BPF_JNE | BPF_K, 0, 0, 1, 0),
      instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
      instruction(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1),
      instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
  };
  program_ = bpf_prog_load(BPF_PROG_TYPE_CGROUP_SKB, "ktest_loss", "GPL", code.data(), code.size(), nullptr);
  if (program_ < 0) Die("load the program that drops");
  cgroup_ = open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (const bpf_attach_type direction : kDirections) {
    if (bpf_prog_attach(program_, cgroup_, direction, BPF_F_ALLOW_MULTI) != 0) Die("attach to " + cgroup);
  }
}

LossyCgroup::~LossyCgroup() {
  for (const bpf_attach_type direction : kDirections) bpf_prog_detach2(program_, cgroup_, direction);
  close(program_);
  close(cgroup_);
}

}  // namespace weir::kernel_test
