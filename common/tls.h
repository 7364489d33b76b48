// gRPC credentials from the TLS files. Needs gRPC and OpenSSL: target weir_tls.
#pragma once

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

#include <memory>
#include <string_view>

#include "common/tls_files.h"

namespace weir {

/// For a gRPC listener at `address` (the value of `flag`): TLS when cert and key are given, with client
/// certificates required when a CA is; else plaintext, which CheckListener must allow. Each handshake takes
/// what is in force then. The credentials must outlive the server. `files` null: no flag was given.
Result<std::shared_ptr<grpc::ServerCredentials>> ServerCredentials(
    std::string_view flag, std::string_view address, const std::shared_ptr<const TlsFiles>& files);

/// For a channel to `address` (the value of `flag`): TLS when any TLS flag is given, else plaintext, which
/// CheckDial must allow. All of the channel's connections take what is in force now: make another one to
/// connect anew.
Result<std::shared_ptr<grpc::ChannelCredentials>> ChannelCredentials(
    std::string_view flag, std::string_view address, const std::shared_ptr<const TlsFiles>& files);

}  // namespace weir
