// Many Services at once: how long a new leader takes, and an EndpointSlice's change until the kernels of all
// nodes have it. Of the endpoints only one Service's are real servers. Figures are printed, not judged.
#include <algorithm>
#include <cstdlib>

#include "tests/kubernetes/failure/failure_fixture.h"
#include "tests/kubernetes/harness/admin.h"

namespace weir::kubernetes_test {
namespace {

namespace json = boost::json;
using kubernetes::Resource;

constexpr int kEndpoints = 10;  // of each Service
constexpr int kChanges = 100;
const Resource kSlices{"discovery.k8s.io", "v1", "endpointslices"};

int Services() {
  const char* const services = std::getenv("WEIR_FLEET_SERVICES");
  return services != nullptr ? std::atoi(services) : 100;
}

/// A client on a node that dials without end and says who answered last.
class Probe {
 public:
  Probe(const std::string& cgroup, const SocketAddress& vip) {
    State* state = state_.get();
    client_ = std::make_unique<kernel_test::ClientProcess>(cgroup, [state, vip]() -> Result<std::string> {
      while (!state->stop) {
        const auto id = kernel_test::Fetch(vip);
        if (id.ok()) state->last = *id;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));  // a client's pace
      }
      return std::string();
    });
  }
  ~Probe() { state_->stop = true; }
  uint8_t last() const { return state_->last; }

 private:
  struct State {
    std::atomic<bool> stop{false};
    std::atomic<uint8_t> last{255};
  };
  kernel_test::Shared<State> state_;
  std::unique_ptr<kernel_test::ClientProcess> client_;
};

class FleetTest : public FailureTest {
 protected:
  void SetUp() override {
    FailureTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    kubelet_.reset();  // pods here are names with a label, and it would ask for all of them all the time
    admin_ = std::make_unique<Admin>(plane());
    for (size_t server : {0U, 1U}) servers_.AddTcp(Real(server), static_cast<uint8_t>(server));
  }
  /// Everything goes with the control plane, faster than by name.
  void TearDown() override {
    for (auto& agent : agents_) agent.reset();
    controllers_ = {};
    if (HasFailure()) ShowLogs();
  }

  static SocketAddress Real(size_t server) {
    return Address(fmt::format("10.244.200.{}", server + 1), kPodPort);
  }
  static std::string Name(int service) { return fmt::format("fleet-{}", service); }
  static std::string PodName(int service, int pod) { return fmt::format("fleet-{}-{}", service, pod); }

  json::object Slice(int service, size_t server) const {
    json::array endpoints;
    for (int pod = 0; pod < (service == 0 ? 1 : kEndpoints); ++pod) {
      const int number = service * kEndpoints + pod;
      const std::string address = service == 0
                                      ? Real(server).address.ToString()
                                      : fmt::format("10.244.{}.{}", 1 + number / 250, 1 + number % 250);
      endpoints.push_back(
          {{"addresses", json::array{json::value(address)}},
           {"conditions", {{"ready", true}}},
           {"targetRef", {{"kind", "Pod"}, {"namespace", ns()}, {"name", PodName(service, pod)}}}});
    }
    return {
        {"apiVersion", "discovery.k8s.io/v1"},
        {"kind", "EndpointSlice"},
        {"metadata", {{"name", Name(service)}, {"labels", {{"kubernetes.io/service-name", Name(service)}}}}},
        {"addressType", "IPv4"},
        {"ports", json::array{json::object{{"name", "http"}, {"port", kPodPort}}}},
        {"endpoints", std::move(endpoints)}};
  }
  void Create(const Resource& resource, json::object object, const std::string& kind) {
    object["apiVersion"] = resource.ApiVersion();
    object["kind"] = kind;
    const auto made = admin_->Call(kubernetes::CreateRequest(resource, ns(), object));
    EXPECT_TRUE(made.ok()) << made.status();
  }
  void CreateService(int service) {
    const json::object metadata{{"name", Name(service)}};
    const json::object port{{"name", "http"}, {"port", 80}, {"targetPort", kPodPort}};
    Create({"", "v1", "services"}, {{"metadata", metadata}, {"spec", {{"ports", json::array{port}}}}},
           "Service");
    for (int pod = 0; pod < kEndpoints; ++pod) {
      const json::object container{{"name", "web"}, {"image", "web"}};
      Create({"", "v1", "pods"},
             {{"metadata", {{"name", PodName(service, pod)}, {"labels", {{"pod-template-hash", "v1"}}}}},
              {"spec", {{"containers", json::array{container}}}}},
             "Pod");
    }
    Create(kSlices, Slice(service, 0), "EndpointSlice");
    const json::object step{{"setWeight", 20}};
    Create({"weir.dev", "v1alpha1", "rollouts"},
           {{"metadata", metadata},
            {"spec",
             {{"service", Name(service)},
              {"revision", "v1"},
              {"strategy", {{"canary", {{"steps", json::array{step}}}}}}}}},
           "Rollout");
  }
  void CreateAll() {
    // Pods are refused until their namespace has its service account.
    ASSERT_TRUE(Eventually([&] { return !Get("serviceaccount/default", ".metadata.name").empty(); },
                           [] { return std::string("no service account"); }));
    std::atomic<int> next{0};
    std::vector<std::thread> threads;
    threads.reserve(8);
    for (int thread = 0; thread < 8; ++thread) {
      threads.emplace_back([&] {
        for (int service; (service = next++) < Services();) CreateService(service);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  std::string Generation() {
    return plane().MustKubectl(
        {"get", "-n", "weir-system", "configmap/weir-state", "-o", "jsonpath={.data.generation}"});
  }
  /// VmRSS or VmHWM of the controller, MiB.
  double Memory(const std::string& field) {
    const std::string status = kernel_test::ReadFile(fmt::format("/proc/{}/status", controllers_[0]->pid()));
    const size_t at = status.find(field + ":");
    return at == std::string::npos ? 0 : std::atof(status.c_str() + at + field.size() + 1) / 1024;
  }
  static double Since(Clock::time_point time) {
    return std::chrono::duration<double>(Clock::now() - time).count();
  }

  std::unique_ptr<Admin> admin_;
};

TEST_F(FleetTest, ASliceChangesAmongManyServices) {
  const auto begun = Clock::now();
  ASSERT_NO_FATAL_FAILURE(CreateAll());
  fmt::print("[ measured ] {} Services, {} endpoints made in {:.1f} s\n", Services(), Services() * kEndpoints,
             Since(begun));
  vip_ = Address(
      plane().MustKubectl({"get", "-n", ns(), "service/" + Name(0), "-o", "jsonpath={.spec.clusterIP}"}), 80);

  const auto started = Clock::now();
  StartController(0);
  ASSERT_FALSE(controllers_[0]->WordAfter("grpc=").empty()) << controllers_[0]->seen;
  fmt::print("[ measured ] start to leading, synced and listening: {:.2f} s\n", Since(started));
  const auto agents_started = Clock::now();
  StartAgents();
  std::vector<std::unique_ptr<Probe>> probes;
  for (const auto& node : nodes_) probes.push_back(std::make_unique<Probe>(node->cgroup(), vip_));
  const auto wait_for = [&](size_t server) {
    const auto deadline = Clock::now() + std::chrono::seconds(60);
    while (Clock::now() < deadline) {
      if (std::ranges::all_of(probes, [&](const auto& probe) { return probe->last() == server; }))
        return true;
      std::this_thread::sleep_for(std::chrono::microseconds(200));  // the measure's grain
    }
    return false;
  };
  ASSERT_TRUE(wait_for(0)) << probes[0]->last() << " " << probes[1]->last();
  fmt::print("[ measured ] agents' start to everything in their kernels: {:.2f} s\n", Since(agents_started));
  const std::string last = "rollouts.weir.dev/" + Name(Services() - 1);
  ASSERT_TRUE(Eventually([&] { return Get(last, ".status.nodes.acked") == "2"; },
                         [&] { return Get(last, ".status"); }));
  fmt::print("[ measured ] start to the last status written: at most {:.1f} s\n", Since(started));

  std::vector<double> milliseconds;
  for (int change = 1; change <= kChanges; ++change) {
    const auto server = static_cast<size_t>(change % 2);
    const json::object patch{{"endpoints", Slice(0, server).at("endpoints")}};
    const auto written = Clock::now();
    const auto answer = admin_->Call(kubernetes::MergePatchRequest(kSlices, {ns(), Name(0)}, patch));
    ASSERT_TRUE(answer.ok()) << answer.status();
    ASSERT_TRUE(wait_for(server)) << "change " << change;
    milliseconds.push_back(Since(written) * 1000);
  }
  std::ranges::sort(milliseconds);
  fmt::print(
      "[ measured ] EndpointSlice sent to in force on both nodes, {} changes: median {:.0f} ms, p99 {:.0f} "
      "ms\n",
      kChanges, milliseconds[kChanges / 2], milliseconds[kChanges * 99 / 100]);
  fmt::print("[ measured ] controller: {:.0f} MiB resident, {:.0f} MiB at most\n", Memory("VmRSS"),
             Memory("VmHWM"));
  fmt::print("[ measured ] load average {}", kernel_test::ReadFile("/proc/loadavg"));

  // A leader that takes all of it over has less to write than the first.
  const std::string first_generation = Generation();
  controllers_[0]->Signal(SIGTERM);
  EXPECT_EQ(controllers_[0]->Wait(), 0);
  const auto again = Clock::now();
  StartController(0);
  ASSERT_FALSE(controllers_[0]->WordAfter("grpc=").empty()) << controllers_[0]->seen;
  fmt::print("[ measured ] the next one: start to leading, synced and listening: {:.2f} s\n", Since(again));
  ASSERT_TRUE(Eventually(
      [&] {
        const std::string log = Log("controller");
        return Times(log, "agent connected") >= 2 * nodes_.size();
      },
      [&] { return Log("controller"); }));
  EXPECT_EQ(Generation(), first_generation) << "nothing was there to be changed";
  const json::object patch{{"endpoints", Slice(0, 1).at("endpoints")}};
  ASSERT_TRUE(admin_->Call(kubernetes::MergePatchRequest(kSlices, {ns(), Name(0)}, patch)).ok());
  ASSERT_TRUE(wait_for(1));
  fmt::print("[ measured ] the next one: start to a change in force on both nodes: {:.2f} s\n", Since(again));
  ExpectNothingForbidden();
}

}  // namespace
}  // namespace weir::kubernetes_test
