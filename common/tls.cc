#include "common/tls.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include <mutex>

namespace weir {
namespace {

/// A listener's: what is in force when a handshake begins. gRPC's own experimental::TlsServerCredentials with
/// a FileWatcherCertificateProvider will not do: it takes a key that does not match the certificate, and has
/// thrown the old pair away when that fails. This way, of grpc_security.h, is older and not experimental,
/// only C++ has no name for it; the core keeps the pair it has when a new one is of no use. It asks on the
/// thread that accepts.
class ReloadingServerCredentials final : public grpc::ServerCredentials {
 public:
  explicit ReloadingServerCredentials(std::shared_ptr<const TlsFiles> files) : files_(std::move(files)) {
    const bool mutual = !files_->flags().ca.empty();
    credentials_ = grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(
            mutual ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                   : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
            &Fetch, this));
  }
  ~ReloadingServerCredentials() override { grpc_server_credentials_release(credentials_); }
  ReloadingServerCredentials(const ReloadingServerCredentials&) = delete;
  ReloadingServerCredentials& operator=(const ReloadingServerCredentials&) = delete;

  /// Nobody here looks at calls' metadata.
  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  static grpc_ssl_certificate_config_reload_status Fetch(void* self,
                                                         grpc_ssl_server_certificate_config** config) {
    return static_cast<ReloadingServerCredentials*>(self)->Fetch(config);
  }
  grpc_ssl_certificate_config_reload_status Fetch(grpc_ssl_server_certificate_config** config) {
    const std::lock_guard lock(mutex_);
    const auto present = files_->contents();
    if (present == given_) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    given_ = present;
    const TlsMaterial& pem = present->pem;
    const grpc_ssl_pem_key_cert_pair pair{pem.key.c_str(), pem.cert.c_str()};
    // The core (1.51) demands roots of a fetched configuration; where no client is asked for a certificate it
    // verifies none by them.
    const std::string& roots = pem.ca.empty() ? pem.cert : pem.ca;
    *config = grpc_ssl_server_certificate_config_create(roots.c_str(), &pair, 1);
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

  const std::shared_ptr<const TlsFiles> files_;
  grpc_server_credentials* credentials_ = nullptr;
  std::mutex mutex_;
  std::shared_ptr<const TlsFiles::Contents> given_;  // under the mutex
};

}  // namespace

Result<std::shared_ptr<grpc::ServerCredentials>> ServerCredentials(
    std::string_view flag, std::string_view address, const std::shared_ptr<const TlsFiles>& files) {
  const TlsFlags flags = files != nullptr ? files->flags() : TlsFlags{};
  ASSIGN_OR_RETURN(const HostPort parsed, ParseHostPort(flag, address));
  RETURN_IF_ERROR(CheckTlsFlags(flags, true));
  RETURN_IF_ERROR(CheckListener(flag, parsed, flags));
  if (!flags.server_tls()) return grpc::InsecureServerCredentials();
  return std::make_shared<ReloadingServerCredentials>(files);
}

Result<std::shared_ptr<grpc::ChannelCredentials>> ChannelCredentials(
    std::string_view flag, std::string_view address, const std::shared_ptr<const TlsFiles>& files) {
  const TlsFlags flags = files != nullptr ? files->flags() : TlsFlags{};
  ASSIGN_OR_RETURN(const HostPort parsed, ParseHostPort(flag, address));
  RETURN_IF_ERROR(CheckTlsFlags(flags, false));
  RETURN_IF_ERROR(CheckDial(flag, parsed, flags));
  if (!flags.client_tls()) return grpc::InsecureChannelCredentials();
  const TlsMaterial pem = files->contents()->pem;
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = pem.ca;
  options.pem_private_key = pem.key;
  options.pem_cert_chain = pem.cert;
  return grpc::SslCredentials(options);
}

}  // namespace weir
