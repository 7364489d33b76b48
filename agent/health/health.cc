#include "agent/health/health.h"

namespace weir::health {
namespace {

HttpResponse Answer(const std::string& reasons) {
  if (reasons.empty()) return {.body = "ok\n"};
  return {.status = 503, .body = reasons};
}

std::string Unattached(datapath::Datapath& datapath) {
  const Status status = datapath.CheckAttached();
  return status.ok() ? "" : fmt::format("not attached: {}\n", Message(status));
}

}  // namespace

HttpResponse Healthz(datapath::Datapath& datapath) { return Answer(Unattached(datapath)); }

HttpResponse Readyz(datapath::Datapath& datapath, const StreamState& stream) {
  std::string reasons = Unattached(datapath);
  if (!stream.synced) {
    reasons += stream.connected ? "waiting for the first full snapshot\n"
                                : fmt::format("no controller yet: {}\n",
                                              stream.last_error.empty() ? "connecting" : stream.last_error);
  }
  return Answer(reasons);
}

}  // namespace weir::health
