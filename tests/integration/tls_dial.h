// One TLS handshake as a client makes it.
#pragma once

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <cstdint>
#include <string>

namespace weir {

/// What a server shows in a handshake with a client that trusts `ca_pem`, and what it answers to `request`.
struct Shown {
  std::string serial;  // of its certificate, as SerialOf has it; empty where it is not trusted
  std::string error;   // why there was no handshake
  std::string answer;
};

inline Shown DialShown(uint16_t port, const std::string& ca_pem, const std::string& request = "",
                       const std::string& address = "127.0.0.1") {
  namespace asio = boost::asio;
  using asio::ip::tcp;
  asio::ssl::context tls(asio::ssl::context::tls_client);
  tls.add_certificate_authority(asio::buffer(ca_pem));
  tls.set_verify_mode(asio::ssl::verify_peer);
  asio::io_context context;
  asio::ssl::stream<tcp::socket> stream(context, tls);
  boost::system::error_code error;
  stream.next_layer().connect({asio::ip::make_address(address), port}, error);
  if (!error) stream.handshake(asio::ssl::stream_base::client, error);
  Shown shown;
  if (error) {
    const long verified = SSL_get_verify_result(stream.native_handle());
    shown.error = verified == X509_V_OK ? error.message() : X509_verify_cert_error_string(verified);
    return shown;
  }
  X509* certificate = SSL_get1_peer_certificate(stream.native_handle());
  shown.serial = std::to_string(ASN1_INTEGER_get(X509_get0_serialNumber(certificate)));
  X509_free(certificate);
  if (request.empty()) return shown;
  asio::write(stream, asio::buffer(request), error);
  asio::read(stream, asio::dynamic_buffer(shown.answer), error);  // until it closes
  return shown;
}

/// GET over HTTPS, without `Connection: keep-alive`.
inline Shown GetShown(uint16_t port, const std::string& ca_pem, const std::string& path) {
  return DialShown(port, ca_pem, "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
}

}  // namespace weir
