// Programs people run, through the VIP, counted at the servers.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/kernel/harness/figures.h"
#include "tests/kernel/harness/fixture.h"

namespace weir::kernel_test {
namespace {

class RealClientsTest : public NodeTest {
 protected:
  void Prepare() override {
    ASSERT_NO_FATAL_FAILURE(NodeTest::Prepare());
    char name[] = "/tmp/weir-ktest-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
  }
  void TearDown() override {
    daemons_.clear();
    std::error_code error;
    if (!directory_.empty()) std::filesystem::remove_all(directory_, error);
  }

  /// Runs a server in the foreground outside the node until the test ends; waits until the address is served.
  void StartServer(const std::string& command, const SocketAddress& address) {
    daemons_.push_back(
        std::make_unique<ClientProcess>(TheSandbox().cgroup + "/harness", [command]() -> Result<std::string> {
          execl("/bin/sh", "sh", "-c", ("exec " + command + " >/dev/null 2>&1").c_str(), nullptr);
          return ErrnoStatus(errno, "exec");
        }));
    for (int i = 0; i < 500; ++i) {
      Socket probe = Socket::Open(AF_INET, SOCK_STREAM);
      if (probe.Connect(address) == 0) return;
      usleep(20000);  // it does not tell when it listens
    }
    FAIL() << command << " does not listen at " << ToString(address);
  }

  /// nginx on two addresses, a revision each, that logs its connections' requests.
  void StartNginx() {
    std::ofstream(directory_ + "/nginx.conf")
        << "daemon off; master_process off; error_log stderr; pid " << directory_ << "/pid;\n"
        << "events { worker_connections 1024; }\n"
        << "http { log_format c '$connection $connection_requests'; client_body_temp_path " << directory_
        << "/b; proxy_temp_path " << directory_ << "/p; fastcgi_temp_path " << directory_
        << "/f; uwsgi_temp_path " << directory_ << "/u; scgi_temp_path " << directory_ << "/s;\n"
        << "server { listen 127.1.0.1:8080; access_log " << directory_
        << "/v1 c; location / { return 200 'v1\\n'; } }\n"
        << "server { listen 127.1.1.1:8080; access_log " << directory_
        << "/v2 c; location / { return 200 'v2\\n'; } }\n"
        << "}\n";
    StartServer("nginx -e stderr -p " + directory_ + " -c " + directory_ + "/nginx.conf", stable_);
  }

  /// nginx logs a request after it has answered it: only when it has ended is its log whole.
  void StopServers() {
    for (auto& daemon : daemons_) daemon->Terminate();
    daemons_.clear();
  }

  /// nginx that answers with several codes and notes each.
  void StartNginxOfManyCodes() {
    std::ofstream(directory_ + "/nginx.conf")
        << "daemon off; master_process off; error_log stderr; pid " << directory_ << "/pid;\n"
        << "events { worker_connections 1024; }\n"
        << "http { log_format c '$status'; client_body_temp_path " << directory_ << "/b; proxy_temp_path "
        << directory_ << "/p; fastcgi_temp_path " << directory_ << "/f; uwsgi_temp_path " << directory_
        << "/u; scgi_temp_path " << directory_ << "/s; keepalive_requests 1000000;\n"
        << "split_clients $request_id $kind { 10% a; 10% b; 10% c; * d; }\n"
        << "server { listen 127.1.0.1:8080; access_log " << directory_ << "/codes c;\n"
        << "  location / { if ($kind = a) { return 404 'HTTP/1.1 500 x'; } if ($kind = b) { return 503 'x'; "
           "}\n"
        << "    if ($kind = c) { return 204; } return 200 'GET / HTTP/1.1\\r\\n'; } } }\n";
    StartServer("nginx -e stderr -p " + directory_ + " -c " + directory_ + "/nginx.conf", stable_);
  }

  /// Responses by status code, from the server's own log, once it holds at least so many.
  std::map<uint16_t, uint64_t> LoggedCodes(uint64_t at_least) {
    std::map<uint16_t, uint64_t> out;
    for (int i = 0; i < 500; ++i) {
      std::ifstream file(directory_ + "/codes");
      uint64_t count = 0;
      out.clear();
      for (uint16_t code = 0; file >> code; ++count) ++out[code];
      if (count >= at_least) break;
      usleep(20000);  // it writes after it answers
    }
    return out;
  }

  Frontend Http() {
    Frontend frontend = Named(MakeFrontend(vip_, {1}, {{stable_}}));
    frontend.http = true;
    return frontend;
  }

  /// Connections that made a request, from the server's own log.
  uint64_t Connections(const std::string& log) {
    std::ifstream file(directory_ + "/" + log);
    uint64_t out = 0;
    for (uint64_t connection, request; file >> connection >> request;) {
      if (request == 1) ++out;
    }
    return out;
  }

  Frontend Split() { return MakeFrontend(vip_, {80, 20}, {{stable_}, {canary_}}); }

  const SocketAddress vip_ = Address("127.96.0.1", 80);
  const SocketAddress stable_ = Address("127.1.0.1", 8080), canary_ = Address("127.1.1.1", 8080);
  std::string directory_;
  std::vector<std::unique_ptr<ClientProcess>> daemons_;
};

TEST_F(RealClientsTest, CurlToNginx) {
  StartNginx();
  ASSERT_OK(node_->Apply(Split()));
  const auto output = RunCommand(
      node_->cgroup(), "for i in $(seq 50); do curl -sS --max-time 5 http://127.96.0.1/ || exit 1; done");
  ASSERT_OK(output);
  EXPECT_EQ(output->size(), 150U);
  StopServers();
  EXPECT_EQ(Connections("v1"), 40U);
  EXPECT_EQ(Connections("v2"), 10U);
}

TEST_F(RealClientsTest, WrkToNginx) {
  StartNginx();
  ASSERT_OK(node_->Apply(Split()));
  const auto output =
      RunCommand(node_->cgroup(), "wrk -t2 -c20 -d2s -H 'Connection: close' http://127.96.0.1/");
  ASSERT_OK(output);
  EXPECT_EQ(output->find("Socket errors: connect"), std::string::npos) << *output;
  StopServers();
  const double v1 = Connections("v1"), v2 = Connections("v2");
  EXPECT_GT(v1 + v2, 100);
  // When time is up wrk leaves at most its 20 connections without a request.
  EXPECT_NEAR(v2, (v1 + v2) * 0.2, 21);
}

TEST_F(RealClientsTest, HttpOfCurlByCode) {
  StartNginxOfManyCodes();
  ASSERT_OK(node_->Apply(Http()));
  ASSERT_OK(
      RunCommand(node_->cgroup(),
                 "for i in $(seq 30); do curl -sS --max-time 5 -d 'GET / HTTP/1.1' http://127.96.0.1/ || "
                 "exit 1; done; curl -sS --max-time 20 'http://127.96.0.1/?[1-500]'; "
                 "curl -sS --max-time 20 -I 'http://127.96.0.1/?[1-100]'"));
  const datapath::Series series = ReadSeries(*node_, "checkout", "v0");
  std::map<uint16_t, uint64_t> found;
  for (const auto& [code, delays] : series.http_responses) found[code] = delays.count();
  EXPECT_EQ(found, LoggedCodes(630));
  EXPECT_EQ(series.http_requests, 630U);
  EXPECT_EQ(series.http_no_response, 0U);
  EXPECT_EQ(series.http_connections, 32U);
  for (const auto& reason : series.http_opaque) EXPECT_EQ(reason.count, 0U) << reason.reason;
}

TEST_F(RealClientsTest, HttpOfWrkByCode) {
  StartNginxOfManyCodes();
  ASSERT_OK(node_->Apply(Http()));
  ASSERT_OK(RunCommand(node_->cgroup(), "wrk -t2 -c20 -d2s http://127.96.0.1/"));
  const datapath::Series series = ReadSeries(*node_, "checkout", "v0");
  // When time is up wrk closes connections whose requests are on their way: nginx answers, and nobody hears
  // it.
  uint64_t unheard = 0, responses = 0;
  for (const auto& [code, delays] : series.http_responses) responses += delays.count();
  EXPECT_EQ(series.http_requests, responses + series.http_no_response);
  EXPECT_LE(series.http_no_response, 20U);
  EXPECT_GT(responses, 100U);
  for (const auto& [code, logged] : LoggedCodes(responses)) {
    const auto delays = series.http_responses.find(code);
    const uint64_t found = delays == series.http_responses.end() ? 0 : delays->second.count();
    EXPECT_LE(found, logged) << code;
    unheard += logged - found;
  }
  EXPECT_LE(unheard, series.http_no_response);
  for (const auto& reason : series.http_opaque) EXPECT_EQ(reason.count, 0U) << reason.reason;
}

TEST_F(RealClientsTest, RedisCliToRedisServer) {
  for (const auto& [endpoint, name] : {std::pair{stable_, "v1"}, {canary_, "v2"}}) {
    StartServer(
        fmt::format(
            "redis-server --bind {} --port 8080 --save '' --appendonly no --dir {} --protected-mode no",
            endpoint.address.ToString(), directory_),
        endpoint);
    ASSERT_OK(RunCommand(TheSandbox().cgroup + "/harness", fmt::format("redis-cli -h {} -p 8080 set me {}",
                                                                       endpoint.address.ToString(), name)));
  }
  ASSERT_OK(node_->Apply(Split()));
  const auto output = RunCommand(
      node_->cgroup(), "for i in $(seq 50); do redis-cli -h 127.96.0.1 -p 80 get me || exit 1; done");
  ASSERT_OK(output);
  EXPECT_EQ(std::count(output->begin(), output->end(), '1'), 40);
  EXPECT_EQ(std::count(output->begin(), output->end(), '2'), 10);
}

/// Answers every A question with 192.0.2.<id>.
class DnsResponder {
 public:
  DnsResponder(const SocketAddress& address, uint8_t id)
      : process_(TheSandbox().cgroup + "/harness", [address, id]() -> Result<std::string> {
          Socket socket = Socket::Open(AF_INET, SOCK_DGRAM);
          RETURN_IF_ERROR(socket.Bind(address));
          for (;;) {
            auto question = socket.ReceiveFrom();
            if (!question.ok()) continue;
            size_t end = 12;  // header, then one name, its type and class (RFC 1035, section 4)
            while (end < question->data.size() && question->data[end] != 0) end += 1 + question->data[end];
            std::string answer = question->data.substr(0, end + 5);
            answer.replace(2, 10, std::string("\x81\x80\0\1\0\1\0\0\0\0", 10));
            answer += std::string("\xc0\x0c\0\1\0\1\0\0\0\0\0\4\xc0\0\2", 15) + static_cast<char>(id);
            RETURN_IF_ERROR(socket.SendTo(question->from, answer));
          }
        }) {}

 private:
  ClientProcess process_;
};

TEST_F(RealClientsTest, DigThroughUdp) {
  const SocketAddress vip = Address("127.96.0.53", 53);
  DnsResponder first(stable_, 1), second(canary_, 2);
  ASSERT_OK(node_->Apply(MakeFrontend(vip, {80, 20}, {{stable_}, {canary_}}, Protocol::kUdp)));
  const auto output = RunCommand(
      node_->cgroup(),
      "for i in $(seq 20); do dig +noedns +short +tries=2 +time=5 @127.96.0.53 weir.test A || exit 1; done");
  ASSERT_OK(output);
  EXPECT_EQ(std::count(output->begin(), output->end(), '\n'), 20) << *output;
  EXPECT_NE(output->find("192.0.2.1\n"), std::string::npos);
  EXPECT_NE(output->find("192.0.2.2\n"), std::string::npos);
}

}  // namespace
}  // namespace weir::kernel_test
