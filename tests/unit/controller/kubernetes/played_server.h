// An HTTP server that does what a test says, byte by byte: what a real API server cannot be made to do.
#pragma once

#include <sys/socket.h>

#include <array>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace weir {

/// Port 0 of 127.0.0.1; a thread per connection.
class PlayedServer {
 public:
  using Request = boost::beast::http::request<boost::beast::http::string_body>;

  /// A connection, for the handler of one of its requests.
  class Session {
   public:
    Session(boost::asio::ip::tcp::socket socket, int connection)
        : socket_(std::move(socket)), number_(connection) {}
    /// Which connection it is, from 0.
    int number() const { return number_; }
    void Answer(unsigned status, const std::string& body, const std::string& headers = "") {
      Raw("HTTP/1.1 " + std::to_string(status) + " x\r\nContent-Type: application/json\r\n" + headers +
          "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    }
    /// The head of an answer in chunks, then each of those, then its end.
    void BeginChunks() { Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"); }
    void Chunk(const std::string& data) {
      std::array<char, 20> size{};
      std::snprintf(size.data(), size.size(), "%zx\r\n", data.size());
      Raw(size.data() + data + "\r\n");
    }
    void EndChunks() { Raw("0\r\n\r\n"); }
    void Raw(const std::string& bytes) {
      boost::system::error_code ignored;  // the client may have gone
      boost::asio::write(socket_, boost::asio::buffer(bytes), ignored);
    }
    /// The client sees the end; the descriptor lives on, as the server's end shuts it down too.
    void Close() {
      closed_ = true;
      boost::system::error_code ignored;
      socket_.shutdown(boost::asio::ip::tcp::socket::shutdown_both, ignored);
    }
    /// Says nothing until the client hangs up or the server goes.
    void BeSilent() {
      std::array<char, 64> bytes{};
      boost::system::error_code error;
      while (!error) socket_.read_some(boost::asio::buffer(bytes), error);
    }

   private:
    friend class PlayedServer;
    boost::asio::ip::tcp::socket socket_;
    int number_;
    bool closed_ = false;
  };
  using Handler = std::function<void(Session&, const Request&)>;

  explicit PlayedServer(Handler handler) : handler_(std::move(handler)), acceptor_(context_) {
    const boost::asio::ip::tcp::endpoint any(boost::asio::ip::make_address("127.0.0.1"), 0);
    acceptor_.open(any.protocol());
    acceptor_.bind(any);
    acceptor_.listen();
    port_ = acceptor_.local_endpoint().port();
    accepting_ = std::thread([this] { Accept(); });
  }
  ~PlayedServer() {
    // Wakes accept() and every read.
    ::shutdown(acceptor_.native_handle(), SHUT_RDWR);
    accepting_.join();
    {
      const std::lock_guard lock(mutex_);
      for (auto& session : sessions_) ::shutdown(session.socket_.native_handle(), SHUT_RDWR);
    }
    for (std::thread& thread : threads_) thread.join();
  }
  PlayedServer(const PlayedServer&) = delete;
  PlayedServer& operator=(const PlayedServer&) = delete;

  uint16_t port() const { return port_; }
  int requests() const { return requests_; }

 private:
  void Accept() {
    for (int number = 0;; ++number) {
      boost::system::error_code error;
      auto socket = acceptor_.accept(error);
      if (error) return;
      const std::lock_guard lock(mutex_);
      Session& session = sessions_.emplace_back(std::move(socket), number);
      threads_.emplace_back([this, &session] { Serve(session); });
    }
  }
  void Serve(Session& session) {
    boost::beast::flat_buffer buffer;
    while (!session.closed_) {
      Request request;
      boost::system::error_code error;
      boost::beast::http::read(session.socket_, buffer, request, error);
      if (error) return;
      ++requests_;
      handler_(session, request);
    }
  }

  Handler handler_;
  boost::asio::io_context context_;
  boost::asio::ip::tcp::acceptor acceptor_;
  uint16_t port_ = 0;
  std::atomic<int> requests_ = 0;
  std::mutex mutex_;
  std::list<Session> sessions_;
  std::list<std::thread> threads_;
  std::thread accepting_;
};

}  // namespace weir
