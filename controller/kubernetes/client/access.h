// How to reach an API server, and who one is there: from a pod's service account or from a kubeconfig.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "common/status.h"
#include "common/url.h"

namespace weir::kubernetes {

struct Access {
  Url server;                   // target: "/", or the path a proxy serves this cluster under
  std::string tls_server_name;  // whom the server's certificate must name; empty: server.host
  std::string ca_pem;           // who may sign it; empty: the system's
  bool insecure = false;        // any certificate
  std::string client_cert_pem, client_key_pem;
  std::string token;       // a bearer token that does not change
  std::string token_file;  // one that does; goes before `token`
  std::string ns = "default";
  std::string origin;  // where all this was read, for errors and logs
};

struct InClusterFiles {
  std::string folder = "/var/run/secrets/kubernetes.io/serviceaccount";
  /// KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT; nullopt: the environment's.
  std::optional<std::string> host, port;
};

/// What kubelet gives a pod: token, ca.crt and namespace in `folder`. FAILED_PRECONDITION outside a pod, or
/// where the service account's token is not mounted; the message names what is missing and the remedy.
/// https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
Result<Access> InCluster(const InClusterFiles& files = {});

/// A context of a kubeconfig; `context` empty: its current-context. Relative files are relative to the
/// kubeconfig. Client certificates and the CA are read now, once. INVALID_ARGUMENT with file, line and field
/// for what cannot be used: a context or user that is not there, exec and auth-provider plug-ins, passwords,
/// impersonation, proxies, plain http off loopback.
/// https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
Result<Access> FromKubeconfig(const std::string& path, const std::string& context = "");

/// The bearer token to send: read from its file again at most once a minute, as kubelet replaces it there
/// long before it expires, and after the server refused it. One thread uses it.
class TokenSource {
 public:
  /// Both must outlive it.
  TokenSource(const Access& access, const Clock& clock) : access_(access), clock_(clock) {}

  /// Empty without a token. An error only while no token was ever read; later the last one is used until its
  /// file can be read again.
  Result<std::string> Get();
  /// The server answered 401 to `token`. True when the file holds another one now: worth a second try.
  bool Refused(const std::string& token);

 private:
  Status Read();

  const Access& access_;
  const Clock& clock_;
  std::string token_;
  std::optional<MonotonicTime> read_at_;
};

}  // namespace weir::kubernetes
