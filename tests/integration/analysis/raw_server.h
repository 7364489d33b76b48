// A server that takes one connection after the other, keeps what it was sent, and answers as it is told: with
// any bytes, or never.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <memory>
#include <string>

namespace weir {

class RawServer {
 public:
  /// `answer`: all bytes of each answer; empty: none, the connection stays open.
  RawServer(boost::asio::io_context& context, std::string answer)
      : acceptor_(context, {boost::asio::ip::make_address("127.0.0.1"), 0}), answer_(std::move(answer)) {
    Accept();
  }
  uint16_t port() const { return acceptor_.local_endpoint().port(); }
  std::string url(const std::string& target = "/") const {
    return "http://127.0.0.1:" + std::to_string(port()) + target;
  }
  /// Of the last connection, up to the end of its header and what came with it.
  const std::string& request() const { return *request_; }

 private:
  void Accept() {
    acceptor_.async_accept([this](boost::system::error_code error, boost::asio::ip::tcp::socket socket) {
      if (error) return;
      auto kept = std::make_shared<boost::asio::ip::tcp::socket>(std::move(socket));
      request_ = std::make_shared<std::string>();
      boost::asio::async_read_until(*kept, boost::asio::dynamic_buffer(*request_), "\r\n\r\n",
                                    [this, kept, request = request_](boost::system::error_code, size_t) {
                                      if (answer_.empty()) {
                                        held_ = kept;
                                        return;
                                      }
                                      boost::asio::async_write(*kept, boost::asio::buffer(answer_),
                                                               [kept](boost::system::error_code, size_t) {});
                                    });
      Accept();
    });
  }

  boost::asio::ip::tcp::acceptor acceptor_;
  std::string answer_;
  std::shared_ptr<std::string> request_ = std::make_shared<std::string>();
  std::shared_ptr<boost::asio::ip::tcp::socket> held_;
};

}  // namespace weir
