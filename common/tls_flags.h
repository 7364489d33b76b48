// What --tls-cert, --tls-key, --tls-ca and --insecure say, and the rule that plaintext stays on the host.
#pragma once

#include <string>
#include <string_view>

#include "common/address.h"
#include "common/status.h"

namespace weir {

/// PEM files. Servers: cert and key make TLS, ca makes client certificates required. Clients: ca (or, with
/// cert and key alone, the system's roots) verifies the server, cert and key are shown to it.
struct TlsFlags {
  std::string cert;
  std::string key;
  std::string ca;
  bool insecure = false;  // plaintext off loopback is meant; does not switch TLS off

  bool server_tls() const { return !cert.empty() && !key.empty(); }
  bool client_tls() const { return !ca.empty() || server_tls(); }
};

/// The contents of the three files; empty where no flag was given.
struct TlsMaterial {
  std::string cert, key, ca;
  bool operator==(const TlsMaterial&) const = default;
};

/// Refuses half a pair, and a CA alone on a server (`server`). No file is opened.
Status CheckTlsFlags(const TlsFlags& flags, bool server);

/// FAILED_PRECONDITION for a listener off loopback with neither TLS nor --insecure. `flag` names the place.
Status CheckListener(std::string_view flag, const HostPort& address, const TlsFlags& flags);
/// The same for an address that is dialled.
Status CheckDial(std::string_view flag, const HostPort& address, const TlsFlags& flags);

}  // namespace weir
