// Flags that all programs spell the same way.
#pragma once

#include <string_view>

#include "common/log.h"
#include "common/tls_flags.h"

namespace CLI {
class App;
}

namespace weir {

/// --tls-cert, --tls-key, --tls-ca, --insecure. `flags` must outlive the parse.
void AddTlsFlags(CLI::App& app, TlsFlags* flags);
/// --log-level, --log-format.
void AddLogFlags(CLI::App& app, LogOptions* options);
/// --version: prints "NAME VERSION" and exits 0.
void AddVersionFlag(CLI::App& app, std::string_view name);

}  // namespace weir
