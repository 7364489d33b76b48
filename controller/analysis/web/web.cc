#include "controller/analysis/web/web.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include "controller/analysis/json_path.h"

namespace weir::analysis {
namespace {

namespace json = boost::json;

/// Go reads every JSON number as a float. Recursion is bounded by the parser's 32 levels.
void MakeFloats(json::value& value) {
  if (value.is_int64()) {
    value = static_cast<double>(value.get_int64());
  } else if (value.is_uint64()) {
    value = static_cast<double>(value.get_uint64());
  } else if (value.is_array()) {
    for (json::value& item : value.get_array()) MakeFloats(item);
  } else if (value.is_object()) {
    for (auto& member : value.get_object()) MakeFloats(member.value());
  }
}

}  // namespace

Result<HttpCall> MakeWebCall(const WebRequest& request) {
  HttpCall call;
  auto url = ParseUrl(request.url);
  if (!url.ok()) return Annotate(url.status(), "url");
  const auto path = JsonPath::Parse(request.json_path);
  if (!path.ok()) return Annotate(path.status(), "jsonPath");
  call.method = request.method;
  call.url = *std::move(url);
  call.body = request.body;
  if (request.json_body) call.headers.emplace_back("Content-Type", "application/json");
  for (const Header& header : request.headers) call.headers.emplace_back(header.key, header.value);
  call.timeout = request.timeout;
  call.insecure = request.insecure;
  return call;
}

Result<json::value> ReadWebAnswer(const WebRequest& request, const HttpAnswer& answer) {
  if (answer.status < 200 || answer.status > 299)
    return Error(absl::StatusCode::kUnavailable, "found HTTP status {}, expected 2xx", answer.status);
  json::error_code error;
  const json::value body = json::parse(answer.body, error);
  if (error) return Error(absl::StatusCode::kUnavailable, "the answer is not JSON: {}", error.message());
  ASSIGN_OR_RETURN(const JsonPath path, JsonPath::Parse(request.json_path));
  auto value = path.Find(body);
  if (!value.ok()) return Error(absl::StatusCode::kUnavailable, "jsonPath: {}", Message(value.status()));
  MakeFloats(*value);
  return value;
}

void AskWeb(HttpClient& client, const WebRequest& request, std::function<void(Result<json::value>)> done) {
  auto call = MakeWebCall(request);
  if (!call.ok()) {
    // The client gives errors from the io_context's thread too.
    HttpCall impossible;
    impossible.method = "";
    client.Call(std::move(impossible), [done = std::move(done),
                                        status = call.status()](const Result<HttpAnswer>&) { done(status); });
    return;
  }
  client.Call(*std::move(call), [request, done = std::move(done)](Result<HttpAnswer> answer) {
    answer.ok() ? done(ReadWebAnswer(request, *answer)) : done(answer.status());
  });
}

}  // namespace weir::analysis
