// Blue-green through the real program: what agents hold of the active and the preview Service.
#include "tests/integration/controller/controller_fixture.h"

namespace weir::testing {
namespace {

constexpr uint32_t kActivePort = 80, kPreviewPort = 8000;

std::string PreviewYaml() {
  return R"(apiVersion: v1
kind: Service
metadata: {name: checkout-preview, namespace: shop}
spec: {clusterIP: 127.96.0.2, ports: [{name: http, port: 8000, protocol: TCP}]}
)";
}

std::string BlueGreenYaml(const std::string& revision, const std::string& more) {
  return "apiVersion: weir.dev/v1alpha1\nkind: Rollout\nmetadata: {name: checkout, namespace: shop}\nspec:\n"
         "  revision: " +
         revision +
         "\n  strategy:\n    blueGreen: {activeService: checkout, previewService: checkout-preview" + more +
         "}\n";
}

/// The weights of the frontend with that port.
Weights At(const SimAgent::View& view, uint32_t port) {
  Weights weights;
  for (const auto& [id, frontend] : view.frontends) {
    if (frontend.key().port() != port) continue;
    for (const auto& variant : frontend.variants()) weights[variant.revision()] = variant.weight();
  }
  return weights;
}

std::function<bool(const SimAgent::View&)> HoldsBoth(const Weights& active, const Weights& preview) {
  return [=](const SimAgent::View& view) {
    return At(view, kActivePort) == active && At(view, kPreviewPort) == preview;
  };
}

class BlueGreenTest : public ControllerTest {
 protected:
  SimAgent::Options Node(const std::string& name) { return {.node_name = name, .channel = Dial(port_)}; }

  void Apply(const std::string& revision, const std::string& more) {
    const auto status = client_.Apply({ServiceYaml(), PreviewYaml(), SliceYaml("v1", "127.0.1.1"),
                                       SliceYaml("v2", "127.0.1.2"), BlueGreenYaml(revision, more)});
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  bool Healthy(const std::string& stable) {
    return client_.Watch([&](const v1::Rollout& r) {
      return r.phase() == "Healthy" && r.stable_revision() == stable && r.nodes_acked() == r.nodes_desired();
    });
  }
  grpc::Status Undo() {
    v1::UndoRequest request;
    request.set_namespace_("shop");
    request.set_name("checkout");
    v1::Rollout rollout;
    return client_.Call(&v1::WeirService::Stub::Undo, request, &rollout);
  }

  std::unique_ptr<Controller> controller_ = std::make_unique<Controller>(base_ / "state");
  int port_ = controller_->port();
  Client client_{Dial(port_)};
};

TEST_F(BlueGreenTest, FlipsEveryNodeInOneGenerationAndGoesBackInOne) {
  SimAgent a(Node("a")), b(Node("b"));
  a.Start();
  b.Start();
  const std::string by_hand = ", autoPromotionEnabled: false, scaleDownDelaySeconds: 3600";
  Apply("v1", by_hand);
  ASSERT_TRUE(a.WaitFor(HoldsBoth({{"v1", 100}}, {{"v1", 1}})));
  Apply("v2", by_hand);
  ASSERT_TRUE(client_.Watch([](const v1::Rollout& r) { return r.phase() == "Paused"; }));
  for (SimAgent* agent : {&a, &b})
    EXPECT_TRUE(agent->WaitFor(HoldsBoth({{"v1", 100}, {"v2", 0}}, {{"v2", 1}})));
  v1::Rollout rollout = client_.Get();
  EXPECT_EQ(rollout.message().rfind("BlueGreenPause", 0), 0u) << rollout.message();
  EXPECT_EQ(rollout.strategy(), "blueGreen");
  EXPECT_EQ(rollout.active_revision(), "v1");
  EXPECT_EQ(rollout.preview_revision(), "v2");
  const uint64_t before = rollout.generation();

  ASSERT_TRUE(client_.Promote().ok());
  ASSERT_TRUE(Healthy("v2"));
  for (SimAgent* agent : {&a, &b}) {
    EXPECT_TRUE(HoldsBoth({{"v2", 100}, {"v1", 0}}, {{"v2", 1}})(agent->view()))
        << "done, so everybody has it";
    EXPECT_EQ(agent->generation(), before + 1) << "the flip is one generation";
  }
  rollout = client_.Get();
  EXPECT_EQ(rollout.previous_revision(), "v1");
  EXPECT_GT(rollout.previous_remaining_ms(), 0);

  ASSERT_TRUE(Undo().ok());
  ASSERT_TRUE(Healthy("v1"));
  EXPECT_TRUE(HoldsBoth({{"v1", 100}}, {{"v1", 1}})(a.view()));
  EXPECT_EQ(a.generation(), before + 2) << "and so is the way back";
  EXPECT_EQ(client_.Get().previous_revision(), "");
}

TEST_F(BlueGreenTest, TheWayBackOutlivesTheControllerAndEndsInTime) {
  SimAgent a(Node("a"));
  a.Start();
  Apply("v1", ", scaleDownDelaySeconds: 3600");
  Apply("v2", ", scaleDownDelaySeconds: 3600");
  ASSERT_TRUE(Healthy("v2"));
  ASSERT_TRUE(a.WaitFor(HoldsBoth({{"v2", 100}, {"v1", 0}}, {{"v2", 1}})));
  EXPECT_EQ(controller_->End(SIGKILL), -SIGKILL);
  a.Stop();
  controller_ = std::make_unique<Controller>(base_ / "state", port_);
  a.Start();
  ASSERT_TRUE(Healthy("v2"));
  EXPECT_EQ(client_.Get().previous_revision(), "v1");
  ASSERT_TRUE(client_.Abort().ok());
  ASSERT_TRUE(a.WaitFor(HoldsBoth({{"v1", 100}, {"v2", 0}}, {{"v2", 1}})));
  EXPECT_EQ(client_.Get().phase(), "Degraded");

  // A second flip, kept for one second.
  Apply("v1", ", scaleDownDelaySeconds: 1");
  Apply("v2", ", scaleDownDelaySeconds: 1");
  ASSERT_TRUE(Healthy("v2"));
  EXPECT_TRUE(a.WaitFor(HoldsBoth({{"v2", 100}}, {{"v2", 1}})));
  EXPECT_EQ(client_.Abort().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
}

}  // namespace
}  // namespace weir::testing
