#include <boost/json/parse.hpp>
#include <thread>

#include "tests/integration/cli/cli_fixture.h"

namespace weir::cli {
namespace {

using GetTest = CliTest;

TEST_F(GetTest, RolloutsAsTable) {
  FakeWeirService service;
  UseServer(service);
  service.rollouts = {PausedCheckout()};
  const Output output = Run({"get", "rollouts", "-n", "shop"});
  EXPECT_EQ(output.code, 0) << output.err;
  EXPECT_EQ(output.out,
            "NAME      PHASE   STEP  WEIGHT  REVISION  STABLE  NODES  GENERATION  UPDATED  MESSAGE\n"
            "checkout  Paused  1/4   20%     v2        v1      2/2    7           90s      -\n");
  EXPECT_EQ(output.err, "");
}

TEST_F(GetTest, NamespaceChoosesAndAllShowsIt) {
  FakeWeirService service;
  UseServer(service);
  service.rollouts = {PausedCheckout()};
  EXPECT_EQ(Run({"get", "rollouts"}).out, "");
  EXPECT_EQ(Run({"get", "rollouts"}).err, "No rollouts found.\n");
  EXPECT_TRUE(Run({"get", "rollouts", "-A"}).out.starts_with("NAMESPACE  NAME"));
  EXPECT_EQ(Run({"get", "ro", "-A", "-o", "name"}).out, "checkout\n");
}

TEST_F(GetTest, WideNamesWhoIsBehindAndWhoRefuses) {
  FakeWeirService service;
  UseServer(service);
  v1::Rollout rollout = PausedCheckout();
  rollout.set_nodes_acked(1);
  rollout.add_nodes_behind("node-b");
  rollout.add_nodes_refusing("node-c: map weir_endpoints is full");
  rollout.set_message("waits for\nnode-c");
  rollout.mutable_ended()->set_text("ended 3 connections of revision v2 on 1 node");
  service.rollouts = {rollout};
  EXPECT_EQ(
      Run({"get", "rollouts", "-n", "shop", "-o", "wide"}).out,
      "NAME      PHASE   STEP  WEIGHT  REVISION  STABLE  NODES  GENERATION  UPDATED  MESSAGE           "
      "SERVICE   "
      "OBSERVED       BEHIND  REFUSING                            ENDED\n"
      "checkout  Paused  1/4   20%     v2        v1      1/2    7           90s      waits for node-c  "
      "checkout  "
      "v1=400 v2=100  node-b  node-c: map weir_endpoints is full  ended 3 connections of revision v2 on 1 "
      "node\n");
}

TEST_F(GetTest, WidthsCountCharactersNotBytes) {
  FakeWeirService service;
  UseServer(service);
  v1::ServiceInfo* first = service.services.add_services();
  first->set_name("größe");
  first->set_endpoints_ready(1);
  first->set_endpoints_total(2);
  v1::ServiceInfo* second = service.services.add_services();
  second->set_name("世界");
  v1::ServiceInfo* third = service.services.add_services();
  third->set_name("ab");
  third->set_split("Rollout/ab");
  EXPECT_EQ(Run({"get", "services", "-A", "-o", "wide"}).out,
            "NAMESPACE  NAME   ADDRESSES  ENDPOINTS  SPLIT\n"
            "-          ab     -          0/0        Rollout/ab\n"
            "-          größe  -          1/2        -\n"
            "-          世界   -          0/0        -\n");
}

TEST_F(GetTest, WebhooksWithWhatBecameOfTheirNotifications) {
  FakeWeirService service;
  UseServer(service);
  v1::WebhookStatus* webhook = service.webhooks.add_webhooks();
  webhook->set_namespace_("shop");
  webhook->set_name("slack");
  webhook->set_server("https://hooks.slack.com");
  webhook->add_events("aborted");
  webhook->add_events("completed");
  webhook->set_signed_(true);
  webhook->set_delivered(12);
  webhook->set_retried(3);
  webhook->set_failed(1);
  webhook->set_waiting(2);
  EXPECT_EQ(
      Run({"get", "webhooks", "-n", "shop"}).out,
      "NAME   SERVER                   EVENTS             SIGNED  DELIVERED  RETRIED  FAILED  DROPPED  "
      "WAITING  LAST ERROR\n"
      "slack  https://hooks.slack.com  aborted,completed  yes     12         3        1       0        2   "
      "     -\n");
  EXPECT_NE(Run({"get", "webhook", "slack", "-n", "shop", "-o", "json"}).out.find("\"retried\": 3"),
            std::string::npos);
}

TEST_F(GetTest, JsonHasStableNamesNumbersAndAddresses) {
  FakeWeirService service;
  UseServer(service);
  v1::Split* split = service.splits.add_splits();
  split->set_namespace_("shop");
  split->set_service("checkout");
  split->set_source("Rollout/checkout");
  split->set_port_name("http");
  split->mutable_key()->set_address(std::string("\x7f\x60\x00\x01", 4));
  split->mutable_key()->set_port(80);
  split->mutable_key()->set_protocol(v1::PROTOCOL_TCP);
  v1::VariantStatus* variant = split->add_variants();
  variant->set_revision("v1");
  variant->set_role(v1::ROLE_STABLE);
  variant->set_weight(100);
  variant->set_connections_observed(1'234'567'890'123);
  const Output output = Run({"get", "splits", "-n", "shop", "-o", "json"});
  EXPECT_EQ(output.out,
            R"({
  "items": [
    {
      "namespace": "shop",
      "service": "checkout",
      "source": "Rollout/checkout",
      "portName": "http",
      "key": {
        "address": "127.96.0.1",
        "port": 80,
        "protocol": "TCP",
        "consumers": 0
      },
      "variants": [
        {
          "revision": "v1",
          "role": "stable",
          "weight": 100,
          "endpointsReady": 0,
          "endpointsTotal": 0,
          "connectionsObserved": 1234567890123
        }
      ],
      "nodes": [],
      "consumerNamespace": ""
    }
  ]
}
)");
  EXPECT_NO_THROW(boost::json::parse(output.out));
  EXPECT_EQ(Run({"get", "splits", "-n", "shop"}).out,
            "SERVICE   PORT  ADDRESS            SOURCE            WEIGHTS  OBSERVED\n"
            "checkout  http  127.96.0.1:80/TCP  Rollout/checkout  v1=100   v1=100.0%\n");
}

TEST_F(GetTest, ASplitForOneNamespaceSaysWhose) {
  FakeWeirService service;
  UseServer(service);
  v1::Split* split = service.splits.add_splits();
  split->set_service("checkout");
  split->set_source("HTTPRoute/own");
  split->set_port_name("http");
  split->mutable_key()->set_address(std::string("\x7f\x60\x00\x01", 4));
  split->mutable_key()->set_port(80);
  split->mutable_key()->set_protocol(v1::PROTOCOL_TCP);
  split->set_consumer_namespace("lab");
  EXPECT_NE(Run({"get", "splits", "-n", "shop"}).out.find("127.96.0.1:80/TCP from lab  HTTPRoute/own"),
            std::string::npos);
}

TEST_F(GetTest, SplitsShowWhatWasObservedBesideWhatIsWanted) {
  FakeWeirService service;
  UseServer(service);
  v1::Split* split = service.splits.add_splits();
  split->set_service("checkout");
  split->mutable_key()->set_address(std::string("\x7f\x60\x00\x01", 4));
  split->mutable_key()->set_port(80);
  const auto add = [](auto* variants, const char* revision, uint32_t weight, uint64_t connections) {
    v1::VariantStatus* variant = variants->Add();
    variant->set_revision(revision);
    variant->set_weight(weight);
    variant->set_connections_observed(connections);
  };
  EXPECT_EQ(Run({"get", "splits"}).out,
            "SERVICE   PORT  ADDRESS            SOURCE  WEIGHTS  OBSERVED\n"
            "checkout  -     127.96.0.1:80/TCP  -       -        -\n");
  add(split->mutable_variants(), "v1", 80, 2399);
  add(split->mutable_variants(), "v2", 20, 601);
  v1::NodeSplit* node = split->add_nodes();
  node->set_node("node-a");
  add(node->mutable_variants(), "v1", 80, 2399);
  add(node->mutable_variants(), "v2", 20, 1);
  split->add_nodes()->set_node("node-b");
  EXPECT_EQ(Run({"get", "splits"}).out,
            "SERVICE   PORT  ADDRESS            SOURCE  WEIGHTS      OBSERVED\n"
            "checkout  -     127.96.0.1:80/TCP  -       v1=80 v2=20  v1=80.0% v2=20.0%\n");
  const std::string wide = Run({"get", "splits", "-o", "wide"}).out;
  EXPECT_NE(wide.find("v1=2399 v2=601"), std::string::npos) << wide;
  EXPECT_NE(wide.find("node-a: v1=100.0% v2=<0.1% of 2400; node-b: of 0\n"), std::string::npos) << wide;
}

TEST_F(GetTest, YamlQuotesWhatWouldReadAsSomethingElse) {
  FakeWeirService service;
  UseServer(service);
  v1::Node* node = service.nodes.add_nodes();
  node->set_name("no");
  node->set_agent_version("0.1.0");
  node->set_connected(true);
  node->set_kernel_release("6.18: \"x\"");
  node->add_abilities("sk_storage");
  EXPECT_EQ(Run({"get", "nodes", "no", "-o", "yaml"}).out,
            "name: \"no\"\n"
            "number: 0\n"
            "connected: true\n"
            "agentVersion: \"0.1.0\"\n"
            "kernelRelease: \"6.18: \\\"x\\\"\"\n"
            "generationAcked: 0\n"
            "generationSent: 0\n"
            "nackReason: \"\"\n"
            "lastSeenUnixMs: 0\n"
            "abilities:\n"
            "- sk_storage\n"
            "takenOut: []\n"
            "leftOut: []\n");
}

TEST_F(GetTest, NodesAsTable) {
  FakeWeirService service;
  UseServer(service);
  v1::Node* node = service.nodes.add_nodes();
  node->set_name("node-a");
  node->set_connected(true);
  node->set_generation_acked(6);
  node->set_generation_sent(7);
  node->set_agent_version("0.1.0");
  node->set_last_seen_unix_ms(1'089'000);
  EXPECT_EQ(Run({"get", "nodes"}).out,
            "NAME    NUMBER  CONNECTED  GENERATION  AGENT  SEEN  REFUSES\n"
            "node-a  0       yes        6/7         0.1.0  1s    -\n");
}

TEST_F(GetTest, MissingNameIsAnError) {
  FakeWeirService service;
  UseServer(service);
  const Output output = Run({"get", "rollouts", "checkout", "-n", "shop"});
  EXPECT_EQ(output.code, 1);
  EXPECT_EQ(output.err, "weirctl: no rollouts checkout in namespace shop\n");
}

TEST_F(GetTest, ColourOnlyOnATerminalThatWantsIt) {
  FakeWeirService service;
  UseServer(service);
  service.rollouts = {PausedCheckout()};
  const auto colored = [&] { return Run({"get", "rollouts", "-A"}).out.find('\x1b') != std::string::npos; };
  EXPECT_FALSE(colored());
  terminal_ = true;
  EXPECT_TRUE(colored());
  variables_["NO_COLOR"] = "1";
  EXPECT_FALSE(colored());
  variables_["NO_COLOR"] = "";
  EXPECT_TRUE(colored());
  variables_["TERM"] = "dumb";
  EXPECT_FALSE(colored());
}

TEST_F(GetTest, ControlCharactersDoNotReachTheTerminal) {
  FakeWeirService service;
  UseServer(service);
  v1::Rollout rollout = PausedCheckout();
  rollout.set_message("\x1b[2Jgone\x07");
  service.rollouts = {rollout};
  EXPECT_NE(Run({"get", "rollouts", "-A"}).out.find("?[2Jgone?"), std::string::npos);
}

TEST_F(GetTest, WatchPrintsOneLinePerChangeUntilTheControllerRefuses) {
  FakeWeirService service;
  UseServer(service);
  service.rollouts = {PausedCheckout()};
  v1::Rollout promoted = PausedCheckout();
  promoted.set_phase("Progressing");
  promoted.set_current_step_index(2);
  promoted.set_canary_weight(50);
  promoted.set_generation(8);
  service.Send(v1::RolloutEvent::TYPE_CHANGED, PausedCheckout());  // nothing new: no line
  service.Send(v1::RolloutEvent::TYPE_CHANGED, promoted);
  service.Send(v1::RolloutEvent::TYPE_DELETED, promoted);
  service.end_of_watch = {grpc::StatusCode::PERMISSION_DENIED, "no more for you"};
  const Output output = Run({"get", "rollouts", "-n", "shop", "-w"});
  EXPECT_EQ(output.code, 1);
  EXPECT_EQ(output.err, "weirctl: no more for you\n");
  EXPECT_EQ(output.out,
            "NAME      PHASE   STEP  WEIGHT  REVISION  STABLE  NODES  GENERATION  UPDATED  MESSAGE\n"
            "checkout  Paused  1/4   20%     v2        v1      2/2    7           90s      -\n"
            "checkout  Progressing  2/4   50%     v2        v1      2/2    8           90s      -\n"
            "checkout  Progressing  2/4   50%     v2        v1      2/2    8           90s      deleted\n");
}

TEST_F(GetTest, WatchAsJsonIsOneEventPerLine) {
  FakeWeirService service;
  UseServer(service);
  service.rollouts = {PausedCheckout()};
  service.Send(v1::RolloutEvent::TYPE_CHANGED, HealthyCheckout());
  service.end_of_watch = {grpc::StatusCode::PERMISSION_DENIED, "no more for you"};
  std::istringstream lines(Run({"get", "rollouts", "-A", "-w", "-o", "json"}).out);
  std::vector<std::string> seen;
  for (std::string line; std::getline(lines, line);) {
    const auto event = boost::json::parse(line).as_object();
    seen.push_back(std::string(event.at("type").as_string()) + " " +
                   std::string(event.at("object").at("phase").as_string()));
  }
  EXPECT_EQ(seen, (std::vector<std::string>{"current Paused", "changed Healthy"}));
}

TEST_F(GetTest, WatchOnATerminalRedrawsInPlace) {
  FakeWeirService service;
  UseServer(service);
  terminal_ = true;
  variables_["NO_COLOR"] = "1";
  service.rollouts = {PausedCheckout()};
  service.Send(v1::RolloutEvent::TYPE_CHANGED, HealthyCheckout());
  service.end_of_watch = {grpc::StatusCode::PERMISSION_DENIED, "no more for you"};
  const Output output = Run({"get", "rollouts", "-A", "-w"});
  EXPECT_NE(output.out.find("\x1b[2F\x1b[J"), std::string::npos) << "goes up over header and row, and clears";
  EXPECT_TRUE(output.out.ends_with("2/2    10          90s      -\n")) << output.out;
}

}  // namespace
}  // namespace weir::cli
