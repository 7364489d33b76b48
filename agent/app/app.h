// The agent on one io_context: stream, metrics, health, HTTP.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "agent/consumers/consumers.h"
#include "agent/datapath/datapath.h"
#include "agent/datapath/ending.h"
#include "agent/ending/orders.h"
#include "agent/guard/guard.h"
#include "agent/metrics/agent_metrics.h"
#include "agent/metrics/consumer_metrics.h"
#include "agent/metrics/ending_metrics.h"
#include "agent/metrics/figure_metrics.h"
#include "agent/metrics/guard_metrics.h"
#include "agent/stream/client.h"
#include "common/clock.h"
#include "common/http.h"
#include "common/metrics.h"
#include "common/tls_files.h"
#include "common/tls_metrics.h"

namespace weir::app {

class App {
 public:
  struct Options {
    std::string node_name;
    std::string controller;  // HOST:PORT or unix:PATH
    std::string http;        // HOST:PORT
    std::string cgroup;      // cgroup2 directory above the node's pods
    std::shared_ptr<const TlsFiles> tls =
        nullptr;  // whoever starts the App has them looked at; null: no flags
    stream::Assembler::Limits limits;
    metrics::FigureOptions figures;
  };

  /// Checks the flags and listens; starts no thread and touches no kernel. Errors name
  /// flag, found, expected.
  static Result<std::unique_ptr<HttpServer>> Listen(boost::asio::io_context& context, const Options& options);

  /// `http` from Listen(). The references must outlive the app.
  /// `ending`: null where connections cannot be ended at all.
  App(boost::asio::io_context& context, const Clock& clock, datapath::Datapath& datapath,
      const Options& options, std::unique_ptr<HttpServer> http, datapath::Ending* ending = nullptr);

  /// Dials the controller; gRPC's threads begin here.
  void Start();
  /// Closes the HTTP server and the stream; `done` is called on the io_context, which must run until then.
  /// The datapath keeps what it holds.
  void Stop(std::function<void()> done);

  std::string http_address() const { return http_->address(); }

 private:
  void PollGuard();

  guard::Guard guard_;
  boost::asio::steady_timer guard_timer_;
  bool stopping_ = false;
  metrics::GuardMetrics guard_metrics_;
  datapath::NoEnding no_ending_;
  ending::Orders orders_;
  consumers::Consumers consumers_;
  metrics::AgentMetrics metrics_;
  metrics::EndingMetrics ending_metrics_;
  metrics::ConsumerMetrics consumer_metrics_;
  ProcessMetrics process_metrics_;
  TlsMetrics tls_metrics_;
  stream::Client client_;
  metrics::FigureMetrics figure_metrics_;
  std::unique_ptr<HttpServer> http_;
};

}  // namespace weir::app
