#include "agent/health/health.h"

#include <gtest/gtest.h>

#include "agent/datapath/fake_datapath.h"

namespace weir::health {
namespace {

TEST(Health, Table) {
  const Status gone = FailedPrecondition("connect4 is not attached");
  const struct {
    Status attached;
    StreamState stream;
    unsigned healthz, readyz;
    const char* why;
  } rows[] = {
      {OkStatus(), {.synced = true, .connected = true}, 200, 200, "ok\n"},
      {OkStatus(), {.synced = true, .connected = false, .last_error = "refused"}, 200, 200, "ok\n"},
      {OkStatus(), {}, 200, 503, "no controller yet: connecting\n"},
      {OkStatus(), {.last_error = "refused"}, 200, 503, "no controller yet: refused\n"},
      {OkStatus(), {.connected = true}, 200, 503, "waiting for the first full snapshot\n"},
      {gone, {.synced = true, .connected = true}, 503, 503, "not attached: connect4 is not attached\n"},
      {gone,
       {.connected = true},
       503,
       503,
       "not attached: connect4 is not attached\nwaiting for the first full snapshot\n"},
  };
  for (const auto& row : rows) {
    datapath::FakeDatapath datapath;
    datapath.attached = row.attached;
    EXPECT_EQ(Healthz(datapath).status, row.healthz) << row.why;
    const HttpResponse ready = Readyz(datapath, row.stream);
    EXPECT_EQ(ready.status, row.readyz) << row.why;
    EXPECT_EQ(ready.body, row.why);
  }
}

}  // namespace
}  // namespace weir::health
