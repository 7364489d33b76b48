#include "common/tls.h"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "common/fd.h"

namespace weir {
namespace {

constexpr size_t kMaxPemBytes = 1 << 20;

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Bio = std::unique_ptr<BIO, Deleter<BIO_free_all>>;
using Cert = std::unique_ptr<X509, Deleter<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;

Result<std::string> ReadPem(std::string_view flag, const std::string& path) {
  if (path.empty()) return std::string();
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) {
    const int error = errno;
    const std::string_view remedy = error == ENOENT   ? "give the path of an existing PEM file"
                                    : error == EACCES ? "let this user read it"
                                                      : "give a readable PEM file";
    return ErrnoStatus(error, fmt::format("{} {}: cannot open ({})", flag, path, remedy));
  }
  struct stat info {};
  if (::fstat(fd.get(), &info) == 0 && !S_ISREG(info.st_mode)) {
    return InvalidArgument("{} {}: not a regular file; expected a PEM file", flag, path);
  }
  std::string text;
  char buffer[16384];
  while (true) {
    const ssize_t got = ::read(fd.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, fmt::format("{} {}: cannot read", flag, path));
    if (got == 0) break;
    text.append(buffer, static_cast<size_t>(got));
    if (text.size() > kMaxPemBytes)
      return InvalidArgument("{} {}: larger than 1 MiB, not a PEM file", flag, path);
  }
  return text;
}

Bio BioOf(const std::string& pem) { return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))); }

Result<Cert> FirstCert(std::string_view flag, const std::string& path, const std::string& pem) {
  ERR_clear_error();
  Cert cert(PEM_read_bio_X509(BioOf(pem).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (!cert)
    return InvalidArgument("{} {}: no certificate in PEM form (BEGIN CERTIFICATE) found", flag, path);
  return cert;
}

/// An encrypted key must not ask the terminal.
int NoPassword(char*, int, int, void*) { return -1; }

}  // namespace

Result<TlsMaterial> LoadTls(const TlsFlags& flags) {
  TlsMaterial material;
  ASSIGN_OR_RETURN(material.cert, ReadPem("--tls-cert", flags.cert));
  ASSIGN_OR_RETURN(material.key, ReadPem("--tls-key", flags.key));
  ASSIGN_OR_RETURN(material.ca, ReadPem("--tls-ca", flags.ca));
  if (!flags.ca.empty()) RETURN_IF_ERROR(FirstCert("--tls-ca", flags.ca, material.ca).status());
  if (flags.cert.empty()) return material;

  ASSIGN_OR_RETURN(const Cert cert, FirstCert("--tls-cert", flags.cert, material.cert));
  ERR_clear_error();
  const Key key(PEM_read_bio_PrivateKey(BioOf(material.key).get(), nullptr, NoPassword, nullptr));
  ERR_clear_error();
  if (!key) {
    return InvalidArgument("--tls-key {}: no unencrypted private key in PEM form (BEGIN PRIVATE KEY) found",
                           flags.key);
  }
  const bool match = X509_check_private_key(cert.get(), key.get()) == 1;
  ERR_clear_error();
  if (!match) {
    return InvalidArgument(
        "--tls-key {}: the key does not match the certificate in {}; give the pair that belongs "
        "together",
        flags.key, flags.cert);
  }
  return material;
}

Result<std::shared_ptr<grpc::ServerCredentials>> ServerCredentials(std::string_view flag,
                                                                   std::string_view address,
                                                                   const TlsFlags& flags) {
  ASSIGN_OR_RETURN(const HostPort parsed, ParseHostPort(flag, address));
  RETURN_IF_ERROR(CheckTlsFlags(flags, true));
  RETURN_IF_ERROR(CheckListener(flag, parsed, flags));
  if (!flags.server_tls()) return grpc::InsecureServerCredentials();
  ASSIGN_OR_RETURN(TlsMaterial material, LoadTls(flags));
  grpc::SslServerCredentialsOptions options(material.ca.empty()
                                                ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                                                : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_key_cert_pairs.push_back({std::move(material.key), std::move(material.cert)});
  options.pem_root_certs = std::move(material.ca);
  return grpc::SslServerCredentials(options);
}

Result<std::shared_ptr<grpc::ChannelCredentials>> ChannelCredentials(std::string_view flag,
                                                                     std::string_view address,
                                                                     const TlsFlags& flags) {
  ASSIGN_OR_RETURN(const HostPort parsed, ParseHostPort(flag, address));
  RETURN_IF_ERROR(CheckTlsFlags(flags, false));
  RETURN_IF_ERROR(CheckDial(flag, parsed, flags));
  if (!flags.client_tls()) return grpc::InsecureChannelCredentials();
  ASSIGN_OR_RETURN(TlsMaterial material, LoadTls(flags));
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = std::move(material.ca);
  options.pem_private_key = std::move(material.key);
  options.pem_cert_chain = std::move(material.cert);
  return grpc::SslCredentials(options);
}

}  // namespace weir
