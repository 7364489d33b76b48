#include "common/flags.h"

#include <CLI/CLI.hpp>

#include "common/version.h"

namespace weir {

void AddTlsFlags(CLI::App& app, TlsFlags* flags) {
  app.add_option("--tls-cert", flags->cert, "PEM file with this program's certificate (chain)")->group("TLS");
  app.add_option("--tls-key", flags->key, "PEM file with the private key of --tls-cert")->group("TLS");
  app.add_option("--tls-ca", flags->ca,
                 "PEM file with the CA that must have signed the other side's certificate")
      ->group("TLS");
  app.add_flag("--insecure", flags->insecure, "allow plaintext off loopback")->group("TLS");
}

void AddLogFlags(CLI::App& app, LogOptions* options) {
  app.add_option("--log-level", options->level, "debug, info, warn or error")
      ->capture_default_str()
      ->group("Log");
  app.add_option("--log-format", options->format, "text or json")->capture_default_str()->group("Log");
}

void AddVersionFlag(CLI::App& app, std::string_view name) {
  app.set_version_flag("--version", fmt::format("{} {}", name, kVersion));
}

}  // namespace weir
