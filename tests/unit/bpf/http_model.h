// One connection as the recogniser sees it: packets each way, cut, lost, repeated and reordered as the test
// wants.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "bpf/lib/http.h"

namespace weir::testing {

/// What was counted.
struct HttpFigures {
  uint64_t requests = 0, no_response = 0, connections = 0, error_connections = 0;
  std::map<uint32_t, uint64_t> responses;  // by code
  std::array<uint64_t, WEIR_OPAQUE_MAX> opaque{};
  uint64_t delay_ns = 0;  // of all responses

  bool is_opaque() const {
    for (const uint64_t count : opaque) {
      if (count > 0) return true;
    }
    return false;
  }
  bool operator==(const HttpFigures&) const = default;
};

/// A client's socket. Streams are numbered from 0; on the wire they begin where the constructor says, so that
/// numbers may wrap. What was received in order is what the client acknowledges.
class HttpConnection {
 public:
  explicit HttpConnection(uint32_t client_isn = 1000, uint32_t server_isn = 5000, bool multipath = false)
      : client_isn_(client_isn), server_isn_(server_isn) {
    weir_http_begin(&sock_, 1, multipath);
  }

  /// SYN and SYN/ACK; the first with data is TCP Fast Open.
  void Open(std::string_view early = "") {
    Sent(0, early, 0, true);
    sent_ = early.size();
    Received(0, "", early.size(), true);
  }

  /// The next bytes of the client, in one packet.
  void Send(std::string_view data) {
    Sent(sent_, data, received_);
    sent_ += data.size();
  }
  /// The next bytes of the server, in one packet that acknowledges all that was sent.
  void Receive(std::string_view data) {
    Received(received_, data, sent_);
    received_ += data.size();
  }
  /// Packets anywhere in the streams.
  void SendAt(uint64_t at, std::string_view data, bool urgent = false) {
    Sent(at, data, received_, false, urgent);
  }
  void ReceiveAt(uint64_t at, std::string_view data, uint64_t acknowledged) {
    Received(at, data, acknowledged);
  }
  /// What the client sent and received in order, when packets were given with a place.
  void set_sent(uint64_t sent) { sent_ = sent; }
  void set_received(uint64_t received) { received_ = received; }
  uint64_t sent() const { return sent_; }
  uint64_t received() const { return received_; }

  void Close() {
    if (weir_http_end(&sock_)) ++figures_.no_response;
  }

  void Pass(uint64_t ns) { now_ns_ += ns; }
  const HttpFigures& figures() const { return figures_; }

 private:
  weir_http_packet Packet(const weir_http_bytes& bytes, uint32_t seq, uint32_t acknowledged, bool syn) {
    weir_http_packet packet{};
    packet.packet = &bytes;
    packet.length = bytes.size;
    packet.seq = seq;
    packet.acknowledged = acknowledged;
    packet.syn = syn;
    return packet;
  }
  // A SYN has a number before the first byte.
  uint32_t ClientSeq(uint64_t at) const { return client_isn_ + 1 + static_cast<uint32_t>(at); }
  uint32_t ServerSeq(uint64_t at) const { return server_isn_ + 1 + static_cast<uint32_t>(at); }

  void Sent(uint64_t at, std::string_view data, uint64_t acknowledged, bool syn = false,
            bool urgent = false) {
    // A copy of its own size, so that a sanitizer sees every byte too many.
    const auto copy = std::make_unique<uint8_t[]>(data.size());
    std::copy(data.begin(), data.end(), copy.get());
    const weir_http_bytes bytes{copy.get(), static_cast<uint32_t>(data.size()), now_ns_};
    weir_http_packet packet =
        Packet(bytes, ClientSeq(at) - (syn ? 1 : 0), syn ? 0 : ServerSeq(acknowledged), syn);
    packet.urgent = urgent;
    weir_http_events events{};
    weir_http_sent(&sock_, &packet, &events);
    Count(events);
  }
  void Received(uint64_t at, std::string_view data, uint64_t acknowledged, bool syn = false) {
    const auto copy = std::make_unique<uint8_t[]>(data.size());
    std::copy(data.begin(), data.end(), copy.get());
    const weir_http_bytes bytes{copy.get(), static_cast<uint32_t>(data.size()), now_ns_};
    const weir_http_packet packet =
        Packet(bytes, ServerSeq(at) - (syn ? 1 : 0), ClientSeq(acknowledged), syn);
    weir_http_events events{};
    weir_http_received(&sock_, &packet, &events);
    Count(events);
  }
  void Count(const weir_http_events& events) {
    figures_.requests += events.request;
    figures_.connections += events.first_answer;
    figures_.error_connections += events.first_failure;
    if (events.opaque > 0) ++figures_.opaque.at(events.opaque - 1U);
    if (events.code == 0) return;
    ++figures_.responses[events.code];
    figures_.delay_ns += events.delay_ns;
  }

  weir_http_sock sock_{};
  const uint32_t client_isn_, server_isn_;
  uint64_t sent_ = 0, received_ = 0;
  uint64_t now_ns_ = 1'000'000'000;
  HttpFigures figures_;
};

}  // namespace weir::testing
