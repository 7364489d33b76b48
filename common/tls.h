// gRPC credentials from the TLS flags. Needs gRPC and OpenSSL: target weir_tls.
#pragma once

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

#include <memory>
#include <string_view>

#include "common/tls_flags.h"

namespace weir {

/// Reads and checks the files. Errors name flag, file and what is wrong: missing, unreadable, not PEM, key
/// does not match the certificate. Expiry is not checked here: a running pair may expire at any time.
Result<TlsMaterial> LoadTls(const TlsFlags& flags);

/// For a gRPC listener at `address` (the value of `flag`): TLS when cert and key are given, with client
/// certificates required when a CA is; else plaintext, which CheckListener must allow.
Result<std::shared_ptr<grpc::ServerCredentials>> ServerCredentials(std::string_view flag,
                                                                   std::string_view address,
                                                                   const TlsFlags& flags);

/// For a channel to `address` (the value of `flag`): TLS when any TLS flag is given, else plaintext, which
/// CheckDial must allow.
Result<std::shared_ptr<grpc::ChannelCredentials>> ChannelCredentials(std::string_view flag,
                                                                     std::string_view address,
                                                                     const TlsFlags& flags);

}  // namespace weir
