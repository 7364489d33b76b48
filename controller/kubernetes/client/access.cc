#include "controller/kubernetes/client/access.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>

#include "common/fd.h"
#include "common/log.h"
#include "controller/kubernetes/client/files.h"

namespace weir::kubernetes {
namespace {

constexpr size_t kMaxFile = size_t{1} << 20;
/// client-go reads it as often.
constexpr std::chrono::seconds kTokenPeriod{60};

std::string Setting(const std::optional<std::string>& given, const char* variable) {
  if (given) return *given;
  const char* value = std::getenv(variable);
  return value == nullptr ? "" : value;
}

}  // namespace

Result<std::string> ReadSmallFile(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return ErrnoStatus(errno, path);
  std::string text;
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t got = ::read(file.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, path);
    if (got == 0) return text;
    text.append(buffer.data(), static_cast<size_t>(got));
    if (text.size() > kMaxFile) return InvalidArgument("{}: found more than {} bytes", path, kMaxFile);
  }
}

std::string Trimmed(std::string text) {
  constexpr std::string_view kBlank = " \t\r\n";
  text.erase(text.find_last_not_of(kBlank) + 1);
  text.erase(0, std::min(text.find_first_not_of(kBlank), text.size()));
  return text;
}

Result<Access> InCluster(const InClusterFiles& files) {
  const std::string host = Setting(files.host, "KUBERNETES_SERVICE_HOST");
  const std::string port_text = Setting(files.port, "KUBERNETES_SERVICE_PORT");
  if (host.empty() || port_text.empty()) {
    return FailedPrecondition(
        "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this is no pod; give a kubeconfig");
  }
  Access access;
  access.origin = "the pod's service account";
  access.server = {.https = true, .host = host, .port = 0, .target = "/"};
  const auto [end, error] =
      std::from_chars(port_text.data(), port_text.data() + port_text.size(), access.server.port);
  if (error != std::errc() || end != port_text.data() + port_text.size() || access.server.port == 0)
    return InvalidArgument("KUBERNETES_SERVICE_PORT: found {:?}, expected a port from 1 to 65535", port_text);
  const auto ca = ReadSmallFile(files.folder + "/ca.crt");
  if (!ca.ok()) return Annotate(ca.status(), "the cluster's CA");
  access.ca_pem = *ca;
  access.token_file = files.folder + "/token";
  if (const auto token = ReadSmallFile(access.token_file); !token.ok() || Trimmed(*token).empty()) {
    return FailedPrecondition(
        "{}: {}; set automountServiceAccountToken: true on the pod or its service account",
        token.ok() ? access.token_file : "the service account's token",
        token.ok() ? "found an empty file" : Message(token.status()));
  }
  if (const auto ns = ReadSmallFile(files.folder + "/namespace"); ns.ok() && !Trimmed(*ns).empty())
    access.ns = Trimmed(*ns);
  return access;
}

Status TokenSource::Read() {
  read_at_ = clock_.Now();
  ASSIGN_OR_RETURN(std::string text, ReadSmallFile(access_.token_file));
  text = Trimmed(std::move(text));
  // It goes into a header: nothing that would end the line.
  if (text.empty() || text.find_first_of(" \t\r\n") != std::string::npos)
    return InvalidArgument("{}: found no token, expected one word", access_.token_file);
  token_ = std::move(text);
  return OkStatus();
}

Result<std::string> TokenSource::Get() {
  if (access_.token_file.empty()) return access_.token;
  if (token_.empty()) token_ = access_.token;
  if (!read_at_ || clock_.Now() - *read_at_ >= kTokenPeriod) {
    if (Status status = Read(); !status.ok()) {
      if (token_.empty()) {
        read_at_.reset();
        return Annotate(status, "bearer token");
      }
      LogWarn("the token cannot be read again, the last one is used", {{"error", status}});
    }
  }
  return token_;
}

bool TokenSource::Refused(const std::string& token) {
  if (access_.token_file.empty()) return false;
  if (token == token_) {
    if (Status status = Read(); !status.ok())
      LogWarn("the token was refused and cannot be read again", {{"error", status}});
  }
  return token != token_;
}

}  // namespace weir::kubernetes
