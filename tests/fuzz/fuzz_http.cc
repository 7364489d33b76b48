// HTTP/1.x connections. Valid exchanges, one after the other, cut into packets at random, repeated and
// reordered: counts equal the truth, or the connection is opaque and counts no more than the truth. The
// input's first bit chooses raw bytes instead: no crash, no byte out of bounds, one opaque count at most.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "tests/unit/bpf/http_model.h"

namespace {

using weir::testing::HttpConnection;
using weir::testing::HttpFigures;

/// The fuzzer's choices; zeroes at their end.
class Choices {
 public:
  Choices(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  uint32_t Next(uint32_t limit) {
    uint32_t value = 0;
    for (int i = 0; i < (limit > 256 ? 2 : 1) && at_ < size_; ++i) value = value << 8 | data_[at_++];
    return value % limit;
  }
  std::string_view Bytes(size_t count) {
    count = std::min(count, size_ - at_);
    at_ += count;
    return {reinterpret_cast<const char*>(data_) + at_ - count, count};
  }
  bool done() const { return at_ >= size_; }

 private:
  const uint8_t* data_;
  size_t size_;
  size_t at_ = 0;
};

template <size_t N>
std::string OneOf(Choices& choices, const std::string_view (&values)[N]) {
  return std::string(values[choices.Next(N)]);
}

constexpr std::string_view kBodies[] = {
    "",         "x",         "GET / HTTP/1.1\r\n\r\n",   "HTTP/1.1 500 Oh\r\n\r\n",
    "\r\n\r\n", "0\r\n\r\n", "Content-Length: 3\r\n\r\n"};

std::string Chunked(Choices& choices, const std::string& body) {
  std::string out;
  for (size_t at = 0; at < body.size();) {
    const size_t count = std::min<size_t>(1 + choices.Next(40), body.size() - at);
    char size[16];
    std::snprintf(size, sizeof size, "%zX", count);
    out += size + OneOf(choices, {"", ";a=b", " ; c"}) + "\r\n" + body.substr(at, count) + "\r\n";
    at += count;
  }
  return out + "0\r\n" + OneOf(choices, {"", "Content-Length: 7\r\n", "Transfer-Encoding: chunked\r\n"}) +
         "\r\n";
}

std::string Body(Choices& choices) {
  std::string body;
  for (uint32_t parts = choices.Next(4); parts > 0; --parts) body += OneOf(choices, kBodies);
  if (choices.Next(8) == 0) body += std::string(choices.Next(1000), 'G');
  return body;
}

std::string Headers(Choices& choices) {
  std::string out;
  for (uint32_t lines = choices.Next(5); lines > 0; --lines) {
    out += OneOf(choices, {"Host: a\r\n", "C: \r\n", "Content-Lengt: 9\r\n", "content-length-x: 9\r\n",
                           "T:\t\r\n", "Transfer: chunked\r\n", "E: Content-Length: 9\r\n",
                           "Cookie: 0123456789abcdef=\tx\r\n", "Expect-Nothing: 1\r\n"});
  }
  return out;
}

struct Request {
  std::string head, body;
};

Request MakeRequest(Choices& choices) {
  Request request;
  request.head =
      OneOf(choices, {"", "", "\r\n"}) +
      OneOf(choices, {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "M-SEARCH", "PR", "CONNECTS"}) +
      " " + OneOf(choices, {"/", "*", "http://a/b", "/0123456789012345678901234567890", "/ HTTP/1.1 x"}) +
      OneOf(choices, {" HTTP/1.1\r\n", " HTTP/1.0\r\n"}) + Headers(choices);
  const std::string body = Body(choices);
  const bool old = request.head.find("HTTP/1.0\r\n") != std::string::npos;
  if (choices.Next(2) == 0 && !old) {
    request.head += OneOf(choices, {"Transfer-Encoding: chunked\r\n", "transfer-encoding:CHUNKED \t\r\n"});
    request.body = Chunked(choices, body);
  } else if (!body.empty() || choices.Next(2) == 0) {
    request.head +=
        OneOf(choices, {"Content-Length: ", "CONTENT-LENGTH:0"}) + std::to_string(body.size()) + "\r\n";
    request.body = body;
  }
  request.head += Headers(choices) + "\r\n";
  return request;
}

/// The packets of a text, in a row.
std::vector<std::string> Cut(Choices& choices, const std::string& text) {
  std::vector<std::string> out;
  const bool small = choices.Next(4) == 0;
  for (size_t at = 0; at < text.size(); at += out.back().size())
    out.push_back(text.substr(at, 1 + (small ? choices.Next(8) : choices.Next(1500))));
  return out;
}

void Send(Choices& choices, HttpConnection& connection, const std::string& text) {
  for (const std::string& packet : Cut(choices, text)) {
    connection.Send(packet);
    if (choices.Next(8) == 0) connection.SendAt(connection.sent() - packet.size(), packet);
  }
}

/// In order with repetitions, or, where that cannot hide a 1xx, in any order.
void Receive(Choices& choices, HttpConnection& connection, const std::string& text) {
  struct Packet {
    uint64_t at;
    std::string data;
  };
  std::vector<Packet> packets;
  uint64_t at = connection.received();
  for (std::string& data : Cut(choices, text)) {
    packets.push_back({at, std::move(data)});
    at += packets.back().data.size();
    if (choices.Next(8) == 0) packets.push_back(packets.back());
  }
  for (uint32_t swaps = choices.Next(4) == 0 ? choices.Next(6) : 0; swaps > 0 && !packets.empty(); --swaps)
    std::swap(packets[choices.Next(packets.size())], packets[choices.Next(packets.size())]);
  for (const Packet& packet : packets) connection.ReceiveAt(packet.at, packet.data, connection.sent());
  connection.set_received(at);
}

void Exchanges(Choices& choices) {
  HttpConnection connection(choices.Next(2) ? 0xffffff00U : 7, choices.Next(2) ? 0xffffff80U : 7);
  HttpFigures truth;
  connection.Open();
  bool open = true, failed = false;
  while (open && !choices.done()) {
    const Request request = MakeRequest(choices);
    const bool early = choices.Next(4) == 0;
    const size_t sent = early ? choices.Next(request.body.size() + 1) : request.body.size();
    Send(choices, connection, request.head + request.body.substr(0, sent));
    ++truth.requests;
    if (choices.Next(16) == 0) {
      ++truth.no_response;
      break;
    }
    std::string response;
    for (uint32_t interim = choices.Next(8); interim > 5; --interim)
      response +=
          OneOf(choices, {"HTTP/1.1 103 Hints\r\nLink: HTTP/1.1 200\r\n\r\n", "HTTP/1.1 102 \r\n\r\n"});
    const uint32_t code = choices.Next(16) == 0 ? 101 : 200 + choices.Next(800);
    response += "HTTP/1.1 " + std::to_string(code) + " x\r\n" + Headers(choices) + "\r\n" + Body(choices);
    Receive(choices, connection, response);
    ++truth.responses[code];
    truth.connections = 1;
    failed = failed || (code >= 500 && code < 600);
    if (code == 101) {
      truth.opaque[WEIR_OPAQUE_UPGRADED] = 1;
      open = false;
    } else {
      Send(choices, connection, request.body.substr(sent));
    }
  }
  truth.error_connections = failed;
  connection.Close();
  HttpFigures found = connection.figures();
  found.delay_ns = 0;
  if (found == truth) return;
  // Only a 1xx whose packets came out of order may end in that.
  if (found.opaque[WEIR_OPAQUE_OTHER] != 1 || found.requests > truth.requests || found.no_response != 0)
    std::abort();
  for (const auto& [code, count] : found.responses) {
    if (!truth.responses.contains(code) || count > truth.responses[code]) std::abort();
  }
}

void Raw(Choices& choices) {
  HttpConnection connection(choices.Next(256) << 24, choices.Next(256) << 24);
  if (choices.Next(4) > 0) connection.Open(choices.Bytes(choices.Next(4) == 0 ? choices.Next(100) : 0));
  while (!choices.done()) {
    const uint32_t what = choices.Next(8);
    const uint32_t shift = choices.Next(64);
    const std::string_view bytes = choices.Bytes(choices.Next(600));
    if (what < 3) connection.Send(bytes);
    if (what == 3) connection.SendAt(connection.sent() - shift, bytes, choices.Next(16) == 0);
    if (what >= 4 && what < 7) connection.Receive(bytes);
    if (what == 7)
      connection.ReceiveAt(connection.received() + 32 - shift, bytes, connection.sent() - shift / 8);
  }
  connection.Close();
  uint64_t opaque = 0, responses = 0;
  for (const uint64_t count : connection.figures().opaque) opaque += count;
  for (const auto& [code, count] : connection.figures().responses) {
    responses += count;
    if (code < 101 || code > 999 || (code > 101 && code < 200)) std::abort();
  }
  const HttpFigures& figures = connection.figures();
  if (opaque > 1 || responses + figures.no_response > figures.requests) std::abort();
  // What is neither answered nor given up is at most one, on a connection that became opaque.
  if (figures.requests - responses - figures.no_response > opaque) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Choices choices(data, size);
  if (choices.Next(4) == 0) {
    Raw(choices);
  } else {
    Exchanges(choices);
  }
  return 0;
}
