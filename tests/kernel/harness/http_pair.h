// Both ends of an HTTP connection in one hand, and the truth about what they said.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/kernel/harness/fixture.h"

namespace weir::kernel_test {

/// Listens in the harness, outside the node.
class HttpListener {
 public:
  explicit HttpListener(const SocketAddress& address, int protocol = 0);
  Socket Accept();

 private:
  Socket socket_;
};

/// A connection through the VIP. Each Ask and Answer is a packet (or, if large, several): it returns when the
/// other end has read it.
class HttpPair {
 public:
  /// `protocol`: IPPROTO_MPTCP, or 0.
  HttpPair(TestNode& node, const SocketAddress& vip, HttpListener& listener, int protocol = 0);

  void Ask(const std::string& text) { Pass(client_, server_, text); }
  void Answer(const std::string& text) { Pass(server_, client_, text); }
  /// A byte at a time.
  void AnswerInPieces(const std::string& text) {
    for (const char byte : text) Answer(std::string(1, byte));
  }
  void Exchange(const std::string& request, const std::string& response) {
    Ask(request);
    Answer(response);
  }

  Socket& client() { return client_; }
  Socket& server() { return server_; }
  /// Resets the connection from one end; the client's socket is closed when this returns.
  void ResetByServer();
  void Close() { client_.Close(); }

 private:
  static void Pass(Socket& from, Socket& to, const std::string& text);

  Socket client_, server_;
};

/// Drops one in `one_in` of the packets with data of a cgroup's sockets, both ways.
class LossyCgroup {
 public:
  LossyCgroup(const std::string& cgroup, int one_in);
  ~LossyCgroup();
  LossyCgroup(const LossyCgroup&) = delete;
  LossyCgroup& operator=(const LossyCgroup&) = delete;

 private:
  int cgroup_ = -1, program_ = -1;
};

}  // namespace weir::kernel_test
