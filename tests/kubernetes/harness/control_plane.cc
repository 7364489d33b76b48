#include "tests/kubernetes/harness/control_plane.h"

#include <fcntl.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/kernel/harness/sandbox.h"

namespace weir::kubernetes_test {
namespace {

namespace fs = std::filesystem;
namespace http = boost::beast::http;
using Strings = std::vector<std::string>;

constexpr std::string_view kFolderPrefix = "weir-kubernetes-";
constexpr std::chrono::seconds kStartsWithin{60};
constexpr std::chrono::milliseconds kProbePeriod{100};

std::string Slurp(const std::string& path) { return kernel_test::ReadFile(path); }

Status Write(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.close();
  return file ? OkStatus() : Error(absl::StatusCode::kInternal, "cannot write {}", path);
}

/// The folder of the programs; NOT_FOUND when one is missing.
Result<std::string> FindPrograms() {
  Process where({WEIR_CONTROL_PLANE_BUILD, "--where"});
  if (where.Wait() != 0) return NotFound("{}", where.seen);
  return where.seen.substr(0, where.seen.find('\n'));
}

/// What killed test programs have left: empty folders, as what was in them has gone with their mount
/// namespace.
void SweepFolders(const fs::path& parent) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(parent, ignored)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with(kFolderPrefix)) continue;
    const pid_t pid = std::atoi(name.c_str() + kFolderPrefix.size());
    if (pid > 0 && ::kill(pid, 0) != 0 && errno == ESRCH) ::rmdir(entry.path().c_str());
  }
}

Status Run(const Strings& command, const std::string& folder) {
  Process process(command, [&folder] { (void)!::chdir(folder.c_str()); });
  if (process.Wait() == 0) return OkStatus();
  return Error(absl::StatusCode::kInternal, "{}: {}", fmt::join(command, " "), process.seen);
}

/// The last lines of a log, for a failure's message.
std::string Tail(const std::string& path) {
  const std::string text = Slurp(path);
  return text.substr(text.size() - std::min<size_t>(text.size(), 3000));
}

/// POST to etcd's JSON gateway.
Result<boost::json::value> AskEtcd(int port, const std::string& path, const std::string& body) {
  boost::asio::io_context context;
  boost::beast::tcp_stream stream(context);
  boost::system::error_code error;
  boost::asio::ip::tcp::endpoint server(boost::asio::ip::make_address("127.0.0.1"),
                                        static_cast<uint16_t>(port));
  stream.connect(server, error);
  http::request<http::string_body> request(http::verb::post, path, 11, body);
  request.set(http::field::host, "127.0.0.1");
  request.prepare_payload();
  if (!error) http::write(stream, request, error);
  boost::beast::flat_buffer buffer;
  http::response<http::string_body> answer;
  if (!error) http::read(stream, buffer, answer, error);
  if (error) return Error(absl::StatusCode::kUnavailable, "etcd {}: {}", path, error.message());
  if (answer.result_int() != 200)
    return Error(absl::StatusCode::kUnavailable, "etcd {}: {}", path, answer.body());
  boost::json::value value = boost::json::parse(answer.body(), error);
  if (error) return Error(absl::StatusCode::kUnavailable, "etcd {}: {}", path, answer.body());
  return value;
}

}  // namespace

std::string MissingReason() {
  if (const std::string& reason = kernel_test::TheSandbox().skip_reason; !reason.empty()) return reason;
  if (FindPrograms().ok()) return "";
  return "no Kubernetes control plane; build it once: tests/kubernetes/control_plane/build.sh";
}

Result<std::unique_ptr<ControlPlane>> ControlPlane::Start(const Options& options) {
  std::unique_ptr<ControlPlane> plane(new ControlPlane(options));
  ASSIGN_OR_RETURN(plane->programs_, FindPrograms());
  RETURN_IF_ERROR(plane->MakeFolder());
  RETURN_IF_ERROR(plane->MakeCertificates());
  RETURN_IF_ERROR(plane->StartEtcd());
  RETURN_IF_ERROR(plane->StartApiServer());
  if (options.controller_manager) RETURN_IF_ERROR(plane->StartControllerManager());
  return plane;
}

ControlPlane::~ControlPlane() {
  controller_manager_.reset();
  api_server_.reset();
  etcd_.reset();
  if (folder_.empty()) return;
  ::umount2(folder_.c_str(), MNT_DETACH);
  ::rmdir(folder_.c_str());
}

/// In memory: etcd writes a lot, and nothing is left on the machine when this process is killed.
Status ControlPlane::MakeFolder() {
  const fs::path parent = fs::temp_directory_path();
  SweepFolders(parent);
  const std::string folder = parent / (std::string(kFolderPrefix) + std::to_string(::getpid()));
  if (::mkdir(folder.c_str(), 0700) != 0) return ErrnoStatus(errno, "mkdir " + folder);
  folder_ = folder;
  if (::mount("tmpfs", folder.c_str(), "tmpfs", 0, "mode=0700") != 0)
    return ErrnoStatus(errno, "mount " + folder);
  return OkStatus();
}

Status ControlPlane::MakeCertificates() const {
  const Strings new_key = {"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"};
  const auto with_key = [&](Strings command, const Strings& rest) {
    command.insert(command.end(), new_key.begin(), new_key.end());
    command.insert(command.end(), rest.begin(), rest.end());
    return Run(command, folder_);
  };
  RETURN_IF_ERROR(with_key({"openssl", "req", "-x509"}, {"-keyout", "ca.key", "-out", "ca.crt", "-subj",
                                                         "/CN=weir-test-ca", "-days", "2"}));
  RETURN_IF_ERROR(
      Write(folder_ + "/names",
            "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc.cluster.local\n"));
  const std::array<std::array<std::string, 2>, 3> names = {
      {{"server", "/CN=kube-apiserver"},
       {"admin", "/O=system:masters/CN=admin"},
       {"controller-manager", "/CN=system:kube-controller-manager"}}};
  for (const auto& [name, subject] : names) {
    RETURN_IF_ERROR(
        with_key({"openssl", "req"}, {"-keyout", name + ".key", "-out", name + ".csr", "-subj", subject}));
    RETURN_IF_ERROR(Run({"openssl", "x509", "-req", "-in", name + ".csr", "-CA", "ca.crt", "-CAkey", "ca.key",
                         "-CAcreateserial", "-days", "2", "-out", name + ".crt", "-extfile", "names"},
                        folder_));
  }
  RETURN_IF_ERROR(
      Run({"openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "sa.key"}, folder_));
  RETURN_IF_ERROR(Run({"openssl", "ec", "-in", "sa.key", "-pubout", "-out", "sa.pub"}, folder_));
  for (const std::string name : {"admin", "controller-manager"}) {
    WriteKubeconfig(name, fmt::format("client-certificate: {0}.crt, client-key: {0}.key", name));
  }
  return OkStatus();
}

void ControlPlane::WriteKubeconfig(const std::string& name, const std::string& user) const {
  const Status written = Write(folder_ + "/" + name + ".kubeconfig", fmt::format(R"(apiVersion: v1
kind: Config
clusters: [{{name: test, cluster: {{server: "{}", certificate-authority: ca.crt}}}}]
users: [{{name: user, user: {{{}}}}}]
contexts: [{{name: test, context: {{cluster: test, user: user}}}}]
current-context: test
)",
                                                                                 server(), user));
  EXPECT_TRUE(written.ok()) << Message(written);
}

/// Its output goes to a file: nobody reads a pipe of it.
std::unique_ptr<Process> ControlPlane::Launch(const std::string& program, const Strings& arguments) const {
  Strings command = {programs_ + "/" + program};
  command.insert(command.end(), arguments.begin(), arguments.end());
  const UniqueFd log(
      ::open((folder_ + "/" + program + ".log").c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600));
  return std::make_unique<Process>(command, [&log] {
    ::dup2(log.get(), 1);
    ::dup2(log.get(), 2);
  });
}

Status ControlPlane::WaitUntilReady(const std::string& program, const Strings& probe) const {
  const auto deadline = std::chrono::steady_clock::now() + kStartsWithin;
  Output last;
  while (std::chrono::steady_clock::now() < deadline) {
    last = Kubectl(probe);
    if (last.code == 0) return OkStatus();
    std::this_thread::sleep_for(kProbePeriod);
  }
  return Error(absl::StatusCode::kDeadlineExceeded, "{} does not serve: {}\n{}", program, last.text,
               Tail(folder_ + "/" + program + ".log"));
}

Status ControlPlane::StartEtcd() {
  const std::string url = fmt::format("http://127.0.0.1:{}", kEtcdPort);
  const std::string peer = fmt::format("http://127.0.0.1:{}", kEtcdPeerPort);
  etcd_ =
      Launch("etcd", {"--data-dir", folder_ + "/etcd", "--listen-client-urls", url, "--advertise-client-urls",
                      url, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                      "--initial-cluster", "default=" + peer, "--unsafe-no-fsync", "--log-level", "warn"});
  const auto deadline = std::chrono::steady_clock::now() + kStartsWithin;
  while (std::chrono::steady_clock::now() < deadline) {
    if (AskEtcd(kEtcdPort, "/v3/kv/range", R"({"key":"AA=="})").ok()) return OkStatus();
    std::this_thread::sleep_for(kProbePeriod);
  }
  return Error(absl::StatusCode::kDeadlineExceeded, "etcd does not serve: {}", Tail(folder_ + "/etcd.log"));
}

Status ControlPlane::StartApiServer() {
  Strings sizes;
  for (const std::string& resource : options_.uncached) sizes.push_back(resource + "#0");
  api_server_ = Launch(
      "kube-apiserver",
      {"--etcd-servers", fmt::format("http://127.0.0.1:{}", kEtcdPort), "--bind-address", "127.0.0.1",
       "--advertise-address", "127.0.0.1",
       // The Service "kubernetes" may not have an endpoint on loopback.
       "--endpoint-reconciler-type", "none", "--secure-port", std::to_string(kApiPort), "--tls-cert-file",
       folder_ + "/server.crt", "--tls-private-key-file", folder_ + "/server.key", "--client-ca-file",
       folder_ + "/ca.crt", "--service-account-issuer", "https://kubernetes.default.svc.cluster.local",
       "--service-account-key-file", folder_ + "/sa.pub", "--service-account-signing-key-file",
       folder_ + "/sa.key", "--service-cluster-ip-range", "10.96.0.0/16", "--authorization-mode", "Node,RBAC",
       "--allow-privileged=true",
       // Compaction is the tests' to order.
       "--etcd-compaction-interval", "0", "--profiling=false", "--watch-cache-sizes",
       fmt::format("{}", fmt::join(sizes, ","))});
  return WaitUntilReady("kube-apiserver", {"get", "--raw", "/readyz"});
}

void ControlPlane::FreezeApiServer(bool frozen) const {
  api_server_->Signal(frozen ? SIGSTOP : SIGCONT);
  // The signal is not obeyed at once.
  if (frozen) ::waitpid(api_server_->pid(), nullptr, WUNTRACED);
}

Status ControlPlane::StartControllerManager() {
  const std::string kubeconfig = folder_ + "/controller-manager.kubeconfig";
  controller_manager_ = Launch(
      "kube-controller-manager",
      {"--kubeconfig", kubeconfig, "--authentication-kubeconfig", kubeconfig, "--authorization-kubeconfig",
       kubeconfig, "--service-account-private-key-file", folder_ + "/sa.key", "--root-ca-file",
       folder_ + "/ca.crt", "--use-service-account-credentials=true", "--leader-elect=false",
       "--bind-address", "127.0.0.1", "--secure-port", "0", "--controllers", options_.controllers});
  return WaitUntilReady("kube-controller-manager", {"get", "serviceaccount", "default", "-n", "default"});
}

Status ControlPlane::CompactEtcd() const {
  ASSIGN_OR_RETURN(const boost::json::value now, AskEtcd(kEtcdPort, "/v3/kv/range", R"({"key":"AA=="})"));
  boost::json::object compact{{"revision", now.at("header").at("revision")}, {"physical", true}};
  return AskEtcd(kEtcdPort, "/v3/kv/compaction", boost::json::serialize(compact)).status();
}

ControlPlane::Output ControlPlane::Kubectl(Strings arguments, const std::string& input) const {
  return KubectlAs(admin_kubeconfig(), std::move(arguments), input);
}

ControlPlane::Output ControlPlane::KubectlAs(const std::string& kubeconfig, Strings arguments,
                                             const std::string& input) const {
  // HOME: its cache of what the server serves.
  Strings command = {"env", "HOME=" + folder_, "KUBECONFIG=" + kubeconfig, programs_ + "/kubectl",
                     "--request-timeout=20s"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  const std::string input_file = folder_ + "/stdin";
  const Status written = Write(input_file, input);
  EXPECT_TRUE(written.ok()) << Message(written);
  const UniqueFd from(::open(input_file.c_str(), O_RDONLY | O_CLOEXEC));
  Process process(command, [&from] { ::dup2(from.get(), 0); });
  const int code = process.Wait();
  return {code, process.seen};
}

std::string ControlPlane::MustKubectl(Strings arguments, const std::string& input) const {
  const Output output = Kubectl(arguments, input);
  EXPECT_EQ(output.code, 0) << "kubectl " << fmt::format("{}", fmt::join(arguments, " ")) << ": "
                            << output.text;
  return output.text;
}

void ControlPlane::AwaitCrds(const Strings& names) const {
  Strings arguments = {"wait", "--for=condition=Established", "--timeout=30s"};
  for (const std::string& name : names) arguments.push_back("crd/" + name);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  Output output;
  do {
    output = Kubectl(arguments);
    if (output.code == 0) return;
    // kubectl wait gives up at once on an object that has no conditions yet ("accessor error").
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // between two questions to another process
  } while (std::chrono::steady_clock::now() < deadline);
  ADD_FAILURE() << "the API does not serve " << fmt::format("{}", fmt::join(names, ", ")) << ": "
                << output.text;
}

Result<std::string> ControlPlane::TokenOf(const std::string& ns, const std::string& service_account) const {
  const Output output = Kubectl({"create", "token", service_account, "-n", ns});
  if (output.code != 0) return Error(absl::StatusCode::kInternal, "kubectl create token: {}", output.text);
  return output.text.substr(0, output.text.find('\n'));
}

Result<std::string> ControlPlane::KubeconfigOf(const std::string& ns,
                                               const std::string& service_account) const {
  ASSIGN_OR_RETURN(const std::string token, TokenOf(ns, service_account));
  const std::string name = ns + "." + service_account;
  WriteKubeconfig(name, "token: " + token);
  return folder_ + "/" + name + ".kubeconfig";
}

Result<std::string> ControlPlane::MountOf(const std::string& ns, const std::string& service_account) const {
  ASSIGN_OR_RETURN(const std::string token, TokenOf(ns, service_account));
  const std::string mount = folder_ + "/" + ns + "." + service_account + ".mount";
  std::error_code error;
  fs::create_directories(mount, error);
  fs::copy_file(ca_file(), mount + "/ca.crt", fs::copy_options::overwrite_existing, error);
  if (error) return Error(absl::StatusCode::kInternal, "{}: {}", mount, error.message());
  RETURN_IF_ERROR(Write(mount + "/token", token));
  RETURN_IF_ERROR(Write(mount + "/namespace", ns));
  return mount;
}

}  // namespace weir::kubernetes_test
