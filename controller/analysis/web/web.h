// The provider `web`: one HTTP request, a JSON answer, and what a path leads to in it.
#pragma once

#include <boost/json/value.hpp>
#include <functional>

#include "common/http_client.h"
#include "controller/analysis/template.h"

namespace weir::analysis {

/// INVALID_ARGUMENT names the field.
Result<HttpCall> MakeWebCall(const WebRequest& request);

/// What the path leads to, typed as JSON has it; numbers are floats, as for Argo. UNAVAILABLE for a status
/// other than 2xx, what is not JSON, and a path that leads nowhere.
Result<boost::json::value> ReadWebAnswer(const WebRequest& request, const HttpAnswer& answer);

/// MakeWebCall, the call, ReadWebAnswer. `done` is called once, on the io_context's thread, never from
/// within.
void AskWeb(HttpClient& client, const WebRequest& request,
            std::function<void(Result<boost::json::value>)> done);

}  // namespace weir::analysis
