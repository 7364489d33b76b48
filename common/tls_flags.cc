#include "common/tls_flags.h"

namespace weir {

Status CheckTlsFlags(const TlsFlags& flags, bool server) {
  if (!flags.cert.empty() && flags.key.empty()) {
    return InvalidArgument("--tls-cert {} without --tls-key: give the file with its private key", flags.cert);
  }
  if (!flags.key.empty() && flags.cert.empty()) {
    return InvalidArgument("--tls-key {} without --tls-cert: give the file with its certificate", flags.key);
  }
  if (server && !flags.ca.empty() && flags.cert.empty()) {
    return InvalidArgument(
        "--tls-ca {} without --tls-cert and --tls-key: a server needs a certificate of its own", flags.ca);
  }
  return OkStatus();
}

Status CheckListener(std::string_view flag, const HostPort& address, const TlsFlags& flags) {
  if (address.is_loopback() || flags.server_tls() || flags.insecure) return OkStatus();
  return FailedPrecondition(
      "{} {}: refusing to listen off loopback in plaintext; give --tls-cert and --tls-key, or --insecure if "
      "this "
      "network is trusted",
      flag, address.ToString());
}

Status CheckDial(std::string_view flag, const HostPort& address, const TlsFlags& flags) {
  if (address.is_loopback() || flags.client_tls() || flags.insecure) return OkStatus();
  return FailedPrecondition(
      "{} {}: refusing to dial off loopback in plaintext; give --tls-ca (and --tls-cert, --tls-key if it "
      "asks for "
      "them), or --insecure if this network is trusted",
      flag, address.ToString());
}

}  // namespace weir
