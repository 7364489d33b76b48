// Who answers TakeMeasurement: Prometheus and the web over HTTP. The io_context's thread; nothing blocks it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/json/value.hpp>
#include <functional>

#include "common/http_client.h"
#include "common/status.h"
#include "controller/analysis/template.h"

namespace weir::app {

class Providers {
 public:
  using Done = std::function<void(Result<boost::json::value>)>;
  virtual ~Providers() = default;
  /// `done` is called once, never from within. Errors are for people and hold no secret.
  virtual void Ask(const analysis::Provider& provider, analysis::TimePoint now, Done done) = 0;
  /// Ends every question, with an error.
  virtual void Stop() = 0;
};

class HttpProviders final : public Providers {
 public:
  explicit HttpProviders(boost::asio::io_context& context) : client_(context) {}
  /// Not for the provider weir, which is not asked.
  void Ask(const analysis::Provider& provider, analysis::TimePoint now, Done done) override;
  void Stop() override { client_.Stop(); }

 private:
  HttpClient client_;
};

}  // namespace weir::app
