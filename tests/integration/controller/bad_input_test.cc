// Bad input to the real programs, as people give it: told where and what, nothing changed, the exit code not
// 0.
#include <algorithm>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "tests/integration/controller/controller_fixture.h"
#include "tests/integration/process.h"

namespace weir::testing {
namespace {

std::string ReadAll(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

std::vector<std::filesystem::path> BadManifests() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(WEIR_MANIFESTS) + "/bad"))
    files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

/// Names and addresses that no bad manifest has.
std::vector<std::string> Others() {
  return {R"(apiVersion: v1
kind: Service
metadata: {name: other, namespace: other}
spec: {clusterIP: 127.97.0.1, ports: [{name: http, port: 80}]}
)",
          R"(apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: other-v1, namespace: other, labels: {kubernetes.io/service-name: other, weir.dev/revision: v1}}
addressType: IPv4
ports: [{name: http, port: 8081}]
endpoints: [{addresses: [127.0.3.1]}]
)",
          R"(apiVersion: weir.dev/v1alpha1
kind: Rollout
metadata: {name: other, namespace: other}
spec: {service: other, revision: v1, strategy: {canary: {steps: [{setWeight: 20}]}}}
)"};
}

std::string Expected(const std::string& manifest) {
  constexpr std::string_view kExpect = "# expect: ";
  return manifest.substr(kExpect.size(), manifest.find('\n') - kExpect.size());
}

/// "FILE:LINE: ", or what is wrong between objects: "KIND NAMESPACE/NAME: FIELD", as they may be in several
/// files.
void ExpectPlace(const std::string& file, const std::string& output) {
  static const std::regex kBetweenObjects(
      "(EndpointSlice|Service|Rollout|TrafficSplit|HTTPRoute|GRPCRoute|TCPRoute) [a-z0-9-]+/[a-z0-9-]+: "
      "[a-zA-Z]+");
  static const std::set<std::string> kFilesOfThese = {"background_analysis.yaml", "blue_green_analysis.yaml",
                                                      "blue_green_post_analysis.yaml", "step_analysis.yaml"};
  const bool between = file.starts_with("set_") || kFilesOfThese.contains(file);
  EXPECT_TRUE(std::regex_search(output, between ? kBetweenObjects : std::regex(file + ":[0-9]+: ")))
      << output;
}

class BadInputTest : public ControllerTest {
 protected:
  /// All that a controller tells of what it holds.
  static std::string Everything(Client& client) {
    v1::ListServicesResponse services;
    v1::ListRolloutsResponse rollouts;
    v1::ListSplitsResponse splits;
    v1::ListWebhooksResponse webhooks;
    v1::ListNodesResponse nodes;  // with the generation
    using Stub = v1::WeirService::Stub;
    EXPECT_TRUE(client.Call(&Stub::ListServices, v1::ListRequest(), &services).ok());
    EXPECT_TRUE(client.Call(&Stub::ListRollouts, v1::ListRequest(), &rollouts).ok());
    EXPECT_TRUE(client.Call(&Stub::ListSplits, v1::ListRequest(), &splits).ok());
    EXPECT_TRUE(client.Call(&Stub::ListWebhooks, v1::ListRequest(), &webhooks).ok());
    EXPECT_TRUE(client.Call(&Stub::ListNodes, v1::ListNodesRequest(), &nodes).ok());
    return services.DebugString() + rollouts.DebugString() + splits.DebugString() + webhooks.DebugString() +
           nodes.DebugString();
  }
  /// The exit code and the output.
  static std::pair<int, std::string> Run(std::vector<std::string> command) {
    Process process(std::move(command));
    const int code = process.Wait();
    return {code, process.seen};
  }
  std::filesystem::path state() const { return base_ / "state"; }
};

TEST_F(BadInputTest, EveryBadManifestIsRefusedAndChangesNothing) {
  const Controller controller(state());
  Client client(Dial(controller.port()));
  ASSERT_TRUE(client.Apply(Others()).ok());
  const std::string before = Everything(client);
  EXPECT_NE(before.find("other"), std::string::npos);
  const auto files = BadManifests();
  ASSERT_GE(files.size(), 100U);
  for (const auto& path : files) {
    const std::string name = path.filename().string();
    SCOPED_TRACE(name);
    const std::string text = ReadAll(path);
    v1::ApplyRequest request;
    v1::ManifestFile& file = *request.add_files();
    file.set_name(name);
    file.set_yaml(text);
    v1::ApplyResponse response;
    const grpc::Status status = client.Call(&v1::WeirService::Stub::Apply, request, &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_NE(status.error_message().find(Expected(text)), std::string::npos) << status.error_message();
    ExpectPlace(name, status.error_message());
    ASSERT_EQ(Everything(client), before);
  }
}

// One of each kind of mistake, the way people make it.
TEST_F(BadInputTest, WeirctlTellsWhereAndItsExitCodeIsNotZero) {
  const Controller controller(state());
  Client client(Dial(controller.port()));
  ASSERT_TRUE(client.Apply(Others()).ok());
  const std::string before = Everything(client);
  for (const char* name : {"malformed",
                           "unknown_field_hint",
                           "unknown_kind",
                           "wrong_type_list",
                           "wrong_type_map",
                           "split_negative",
                           "split_above",
                           "split_zero",
                           "step_weight_negative",
                           "step_weight_above",
                           "set_vip_twice",
                           "set_loop",
                           "port_0",
                           "port_65536",
                           "slice_port_out_of_range",
                           "set_family",
                           "address_family",
                           "set_unknown_service",
                           "set_unknown_backend",
                           "set_two_rollouts",
                           "set_rollout_and_split",
                           "split_17"}) {
    const std::string file = std::string(name) + ".yaml";
    SCOPED_TRACE(file);
    const std::string path = std::string(WEIR_MANIFESTS) + "/bad/" + file;
    const auto [code, output] = Run({WEIRCTL, "--server", controller.address(), "apply", "-f", path});
    EXPECT_EQ(code, 1) << output;
    EXPECT_NE(output.find(Expected(ReadAll(path))), std::string::npos) << output;
    ExpectPlace(file, output);
  }
  EXPECT_EQ(Everything(client), before);
}

TEST_F(BadInputTest, OneBadDocumentKeepsTheGoodOnesBesideItOut) {
  const Controller controller(state());
  Client client(Dial(controller.port()));
  const std::string before = Everything(client);
  const auto good = base_ / "good.yaml";
  std::ofstream(good) << Others()[0];
  const auto [code, output] = Run({WEIRCTL, "--server", controller.address(), "apply", "-f", good.string(),
                                   "-f", std::string(WEIR_MANIFESTS) + "/bad/port_0.yaml"});
  EXPECT_EQ(code, 1) << output;
  EXPECT_EQ(Everything(client), before);
}

/// A state directory with something in it.
void Fill(const std::filesystem::path& state) {
  const Controller controller(state);
  ASSERT_TRUE(Client(Dial(controller.port())).Apply(Others()).ok());
}

TEST_F(BadInputTest, ADamagedStateDirectoryIsLeftAsItIs) {
  ASSERT_NO_FATAL_FAILURE(Fill(state()));
  std::filesystem::path database;
  for (const auto& entry : std::filesystem::directory_iterator(state())) {
    if (entry.path().extension() == ".db") database = entry.path();
  }
  ASSERT_FALSE(database.empty());
  const std::string whole = ReadAll(database);
  const std::vector<std::pair<const char*, std::string>> cases = {
      {"cut short", whole.substr(0, whole.size() / 2)},
      {"not a database", "this is no database, " + std::string(8192, 'x')},
      {"overwritten in the middle", whole.substr(0, 4096) + std::string(whole.size() - 4096, '\xff')}};
  for (const auto& [what, damaged] : cases) {
    SCOPED_TRACE(what);
    for (const auto& entry : std::filesystem::directory_iterator(state())) {
      const std::string name = entry.path().filename();
      if (name.ends_with("-wal") || name.ends_with("-shm")) std::filesystem::remove(entry.path());
    }
    std::ofstream(database, std::ios::binary | std::ios::trunc) << damaged;
    const auto [code, output] = Run(
        {WEIR_CONTROLLER, "--state", state().string(), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"});
    EXPECT_EQ(code, 1) << output;
    EXPECT_NE(output.find(state().string()), std::string::npos) << output;
    EXPECT_EQ(ReadAll(database), damaged) << "for whoever wants to rescue something";
  }
}

}  // namespace
}  // namespace weir::testing
