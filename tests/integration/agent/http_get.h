// One plain HTTP GET.
#pragma once

#include <boost/asio.hpp>
#include <cstdint>
#include <string>

namespace weir {

/// The whole response, status line first.
inline std::string HttpGet(uint16_t port, const std::string& path) {
  boost::asio::io_context context;
  boost::asio::ip::tcp::socket socket(context);
  socket.connect({boost::asio::ip::make_address("127.0.0.1"), port});
  boost::asio::write(
      socket, boost::asio::buffer("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
  std::string text;
  boost::system::error_code end;
  boost::asio::read(socket, boost::asio::dynamic_buffer(text), end);
  return text;
}

}  // namespace weir
