#include "common/tls_files.h"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <boost/asio/buffer.hpp>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>
#include <vector>

#include "common/fd.h"
#include "common/log.h"

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

/// All of them, at least one.
Result<std::vector<Cert>> Certs(std::string_view flag, const std::string& path, const std::string& pem) {
  std::vector<Cert> certs;
  const Bio bio = BioOf(pem);
  ERR_clear_error();
  while (Cert cert{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) certs.push_back(std::move(cert));
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (certs.empty())
    return InvalidArgument("{} {}: no certificate in PEM form (BEGIN CERTIFICATE) found", flag, path);
  if (!at_end) {
    return InvalidArgument("{} {}: certificate {} is cut short or broken; expected PEM form", flag, path,
                           certs.size() + 1);
  }
  return certs;
}

std::optional<WallTime> NotAfter(const X509& cert) {
  std::tm calendar{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(&cert), &calendar) != 1) return std::nullopt;
  return std::chrono::system_clock::from_time_t(::timegm(&calendar));
}

/// An encrypted key must not ask the terminal.
int NoPassword(char*, int, int, void*) { return -1; }

}  // namespace

Result<TlsMaterial> LoadTls(const TlsFlags& flags) {
  TlsMaterial material;
  ASSIGN_OR_RETURN(material.cert, ReadPem("--tls-cert", flags.cert));
  ASSIGN_OR_RETURN(material.key, ReadPem("--tls-key", flags.key));
  ASSIGN_OR_RETURN(material.ca, ReadPem("--tls-ca", flags.ca));
  if (!flags.ca.empty()) RETURN_IF_ERROR(Certs("--tls-ca", flags.ca, material.ca).status());
  if (flags.cert.empty()) return material;

  ASSIGN_OR_RETURN(const std::vector<Cert> certs, Certs("--tls-cert", flags.cert, material.cert));
  ERR_clear_error();
  const Key key(PEM_read_bio_PrivateKey(BioOf(material.key).get(), nullptr, NoPassword, nullptr));
  ERR_clear_error();
  if (!key) {
    return InvalidArgument("--tls-key {}: no unencrypted private key in PEM form (BEGIN PRIVATE KEY) found",
                           flags.key);
  }
  const bool match = X509_check_private_key(certs.front().get(), key.get()) == 1;
  ERR_clear_error();
  if (!match) {
    return InvalidArgument(
        "--tls-key {}: the key does not match the certificate in {}; give the pair that belongs "
        "together",
        flags.key, flags.cert);
  }
  return material;
}

namespace {

using Loaded = Result<std::shared_ptr<const TlsFiles::Contents>>;
namespace ssl = boost::asio::ssl;

/// What OpenSSL itself says to the pair, a key that is too short for it among others.
Result<std::shared_ptr<ssl::context>> ServerContext(const TlsFlags& flags, const TlsMaterial& pem) {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  context->set_options(ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1);
  boost::system::error_code error;
  context->use_certificate_chain(boost::asio::buffer(pem.cert), error);
  if (error) return InvalidArgument("--tls-cert {}: cannot be used: {}", flags.cert, error.message());
  context->use_private_key(boost::asio::buffer(pem.key), ssl::context::pem, error);
  if (error) return InvalidArgument("--tls-key {}: cannot be used: {}", flags.key, error.message());
  return context;
}

/// `present` itself where the files say the same.
Loaded Load(const TlsFlags& flags, const std::shared_ptr<const TlsFiles::Contents>& present) {
  auto contents = std::make_shared<TlsFiles::Contents>();
  ASSIGN_OR_RETURN(contents->pem, LoadTls(flags));
  if (present != nullptr && contents->pem == present->pem) return present;
  if (!flags.cert.empty()) {
    ASSIGN_OR_RETURN(contents->server, ServerContext(flags, contents->pem));
    ASSIGN_OR_RETURN(const std::vector<Cert> certs, Certs("--tls-cert", flags.cert, contents->pem.cert));
    contents->cert_not_after = NotAfter(*certs.front());
  }
  if (!flags.ca.empty()) {
    ASSIGN_OR_RETURN(const std::vector<Cert> certs, Certs("--tls-ca", flags.ca, contents->pem.ca));
    for (const Cert& cert : certs) contents->ca_not_after = std::max(contents->ca_not_after, NotAfter(*cert));
  }
  return contents;
}

std::string Text(const std::optional<WallTime>& time) {
  if (!time) return "";
  const std::time_t seconds = std::chrono::system_clock::to_time_t(*time);
  std::tm calendar{};
  ::gmtime_r(&seconds, &calendar);
  char text[32] = {};
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &calendar);
  return text;
}

}  // namespace

TlsFiles::TlsFiles(TlsFlags flags, std::shared_ptr<const Contents> contents)
    : flags_(std::move(flags)), contents_(std::move(contents)) {}

Result<std::shared_ptr<TlsFiles>> TlsFiles::Open(const TlsFlags& flags, bool server) {
  RETURN_IF_ERROR(CheckTlsFlags(flags, server));
  ASSIGN_OR_RETURN(auto contents, Load(flags, nullptr));
  return std::shared_ptr<TlsFiles>(new TlsFiles(flags, std::move(contents)));
}

std::shared_ptr<const TlsFiles::Contents> TlsFiles::contents() const {
  const std::lock_guard lock(mutex_);
  return contents_;
}

Result<bool> TlsFiles::Look() {
  const std::shared_ptr<const Contents> present = contents();
  Loaded loaded = Load(flags_, present);
  // A mounted Secret changes in one moment, which may lie between our reads of its files: that is no trouble.
  if (!loaded.ok()) loaded = Load(flags_, present);
  if (!loaded.ok()) {
    ++reload_errors_;
    return loaded.status();
  }
  if (*loaded == present) return false;
  const std::lock_guard lock(mutex_);
  contents_ = *std::move(loaded);
  ++reloads_;
  return true;
}

TlsWatch::TlsWatch(boost::asio::io_context& context, std::shared_ptr<TlsFiles> files,
                   std::chrono::milliseconds interval)
    : files_(std::move(files)), interval_(interval), timer_(context) {
  if (files_ != nullptr && files_->flags().client_tls()) Arm();
}

void TlsWatch::Arm() {
  timer_.expires_after(interval_);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (error || stopped_) return;
    Look();
    Arm();
  });
}

void TlsWatch::Look() {
  const Result<bool> changed = files_->Look();
  if (!changed.ok()) {
    std::string why = Message(changed.status());
    if (why != trouble_) {
      LogError("TLS files cannot be used, those read before stay in force", {{"error", why}});
      trouble_ = std::move(why);
    }
    return;
  }
  if (*changed) {
    const auto contents = files_->contents();
    LogInfo("TLS files have changed and are in force", {{"cert_not_after", Text(contents->cert_not_after)},
                                                        {"ca_not_after", Text(contents->ca_not_after)}});
  } else if (!trouble_.empty()) {
    LogInfo("TLS files are again as they were read");
  }
  trouble_.clear();
}

void TlsWatch::Stop() {
  stopped_ = true;
  timer_.cancel();
}

}  // namespace weir
