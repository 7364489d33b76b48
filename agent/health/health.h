// Answers of /healthz and /readyz. The io_context's thread.
#pragma once

#include <functional>
#include <string>

#include "agent/datapath/datapath.h"
#include "common/http.h"

namespace weir::health {

/// What readiness needs to know of the stream.
struct StreamState {
  bool synced = false;     // a split is in force
  bool connected = false;  // a controller has welcomed us
  std::string last_error;  // why there is no stream
};

HttpResponse Healthz(datapath::Datapath& datapath);
HttpResponse Readyz(datapath::Datapath& datapath, const StreamState& stream);

}  // namespace weir::health
