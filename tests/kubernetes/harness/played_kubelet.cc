#include "tests/kubernetes/harness/played_kubelet.h"

#include <chrono>

#include "tests/kernel/harness/sockets.h"

namespace weir::kubernetes_test {
namespace {

namespace json = boost::json;
const kubernetes::Resource kPods{"", "v1", "pods"};
constexpr char kNode[] = "played";
constexpr std::string_view kRevisionLabel = "pod-template-hash";

/// By the label of Argo Rollouts, or of Deployments.
std::string RevisionOf(const json::object& pod) {
  std::string revision(kubernetes::Text(pod, {"metadata", "labels", "rollouts-pod-template-hash"}));
  if (revision.empty()) revision = kubernetes::Text(pod, {"metadata", "labels", kRevisionLabel});
  return revision;
}

}  // namespace

PlayedKubelet::PlayedKubelet(const ControlPlane& plane, kernel_test::Servers& servers, std::string ns,
                             uint16_t port)
    : servers_(servers), ns_(std::move(ns)), port_(port), admin_(plane) {
  // EndpointSlices take no loopback addresses. These are local to the sandbox's only device, which leads
  // nowhere.
  Process({"ip", "address", "replace", "10.244.0.1/16", "dev", "lo"}).Wait();
  const json::object node{{"apiVersion", "v1"}, {"kind", "Node"}, {"metadata", {{"name", kNode}}}};
  (void)admin_.Call(kubernetes::CreateRequest({"", "v1", "nodes"}, "", node));  // or it is there already
  thread_ = std::thread([this] {
    while (!stopping_) {
      Look();
      std::this_thread::sleep_for(std::chrono::milliseconds(50));  // the pace of a kubelet, not a wait for it
    }
  });
}

PlayedKubelet::~PlayedKubelet() {
  stopping_ = true;
  thread_.join();
}

uint8_t PlayedKubelet::IdOf(const std::string& revision) const {
  const std::lock_guard lock(mutex_);
  const auto found = ids_.find(revision);
  return found == ids_.end() ? 255 : found->second;
}

size_t PlayedKubelet::Pods(const std::string& revision) const {
  const std::lock_guard lock(mutex_);
  return static_cast<size_t>(
      std::ranges::count_if(pods_, [&](const auto& pod) { return pod.second.revision == revision; }));
}

uint32_t PlayedKubelet::Started() const {
  const std::lock_guard lock(mutex_);
  return next_address_ - 1;
}

std::set<std::string> PlayedKubelet::Leaders() const {
  const std::lock_guard lock(mutex_);
  return leaders_;
}

void PlayedKubelet::Look() {
  kubernetes::ApiRequest list;
  list.target = "/api/v1/pods";
  list.timeout = std::chrono::seconds(5);
  const auto answer = admin_.Call(list);
  if (!answer.ok()) return;  // the API server is away: kubelets go on by themselves
  std::set<std::string> there, leaders;
  for (const json::value& item : answer->body.at("items").as_array()) {
    const json::object& pod = item.as_object();
    if (kubernetes::Text(pod, {"metadata", "labels", "weir.dev/leader"}) == "true")
      leaders.emplace(kubernetes::Text(pod, {"metadata", "name"}));
    const std::string uid(kubernetes::Text(pod, {"metadata", "uid"}));
    if (kubernetes::Find(pod, {"metadata", "deletionTimestamp"}) != nullptr) {
      const auto now = std::chrono::steady_clock::now();
      if (now - ending_.try_emplace(uid, now).first->second < grace_.load()) {
        there.insert(uid);
        continue;
      }
      ending_.erase(uid);
      // As long as it is there it serves: its end was asked for with grace.
      kubernetes::ApiRequest end = kubernetes::DeleteRequest(kPods, kubernetes::KeyOf(pod));
      end.body = R"({"apiVersion":"v1","kind":"DeleteOptions","gracePeriodSeconds":0})";
      (void)admin_.Call(end);
      continue;
    }
    if (kubernetes::KeyOf(pod).ns != ns_) continue;
    if (RevisionOf(pod).empty()) continue;
    there.insert(uid);
    Start(pod);
  }
  const std::lock_guard lock(mutex_);
  leaders_ = std::move(leaders);
  std::erase_if(pods_, [&](const auto& pod) {
    if (there.contains(pod.first)) return false;
    servers_.Remove(pod.second.address);
    return true;
  });
}

void PlayedKubelet::Start(const json::object& pod) {
  const std::string uid(kubernetes::Text(pod, {"metadata", "uid"}));
  SocketAddress address;
  {
    const std::lock_guard lock(mutex_);
    Pod& here = pods_[uid];
    if (here.ready || (held_ && !here.revision.empty())) return;
    if (here.revision.empty()) {
      here.revision = RevisionOf(pod);
      const uint8_t id = ids_.try_emplace(here.revision, static_cast<uint8_t>(ids_.size())).first->second;
      here.address = kernel_test::Address(
          fmt::format("10.244.{}.{}", next_address_ / 250, next_address_ % 250 + 1), port_);
      ++next_address_;
      servers_.AddTcp(here.address, id);
    }
    here.ready = !held_;
    address = here.address;
  }
  if (kubernetes::Text(pod, {"spec", "nodeName"}).empty() && !Bind(kubernetes::KeyOf(pod))) return Again(uid);
  const bool ready = !held_;
  const std::string ip = address.address.ToString();
  const std::string now = kubernetes::FormatTime(std::chrono::system_clock::now());
  const json::object status{{"phase", "Running"},
                            {"podIP", ip},
                            {"podIPs", json::array{json::object{{"ip", ip}}}},
                            {"conditions", json::array{json::object{{"type", "Ready"},
                                                                    {"status", ready ? "True" : "False"},
                                                                    {"lastTransitionTime", now}}}}};
  const auto written = admin_.Call(kubernetes::StatusPatchRequest(kPods, kubernetes::KeyOf(pod), status));
  if (!written.ok()) Again(uid);
}

/// What a scheduler would do.
bool PlayedKubelet::Bind(const kubernetes::ObjectKey& pod) {
  kubernetes::ApiRequest request;
  request.method = kubernetes::Method::kPost;
  request.target = kubernetes::ObjectPath(kPods, pod, "binding");
  request.body =
      json::serialize(json::object{{"apiVersion", "v1"},
                                   {"kind", "Binding"},
                                   {"metadata", {{"name", pod.name}}},
                                   {"target", {{"apiVersion", "v1"}, {"kind", "Node"}, {"name", kNode}}}});
  return admin_.Call(request).ok();
}

/// The API server did not take it: at the next look.
void PlayedKubelet::Again(const std::string& uid) {
  const std::lock_guard lock(mutex_);
  if (const auto here = pods_.find(uid); here != pods_.end()) here->second.ready = false;
}

}  // namespace weir::kubernetes_test
