#include "tests/unit/common/test_certs.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

namespace weir {
namespace {

struct Free {
  void operator()(X509* cert) const { X509_free(cert); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(X509_EXTENSION* extension) const { X509_EXTENSION_free(extension); }
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using Cert = std::unique_ptr<X509, Free>;
using Key = std::unique_ptr<EVP_PKEY, Free>;

Key NewKey() { return Key(EVP_EC_gen("P-256")); }

void Extend(X509* cert, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, cert, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, Free> extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  if (!extension) std::abort();
  X509_add_ext(cert, extension.get(), -1);
}

Cert NewCert(const std::string& name, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key,
             std::chrono::seconds good_for) {
  Cert cert(X509_new());
  X509_set_version(cert.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(cert.get()), static_cast<long>(std::random_device{}() >> 1));
  X509_gmtime_adj(X509_getm_notBefore(cert.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(cert.get()), good_for.count());
  X509_set_pubkey(cert.get(), key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(cert.get()), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509* signer = issuer != nullptr ? issuer : cert.get();
  X509_set_issuer_name(cert.get(), X509_get_subject_name(signer));
  if (issuer == nullptr) {
    Extend(cert.get(), signer, NID_basic_constraints, "critical,CA:TRUE");
  } else {
    Extend(cert.get(), signer, NID_subject_alt_name, "IP:127.0.0.1,DNS:localhost");
  }
  X509_sign(cert.get(), issuer_key != nullptr ? issuer_key : key, EVP_sha256());
  return cert;
}

template <typename Write>
std::string ToPem(Write write) {
  const std::unique_ptr<BIO, Free> bio(BIO_new(BIO_s_mem()));
  write(bio.get());
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<size_t>(size)};
}

std::string CertPem(X509* cert) {
  return ToPem([&](BIO* bio) { PEM_write_bio_X509(bio, cert); });
}

}  // namespace

struct TestCa::Impl {
  Key key = NewKey();
  // A name of its own: where a bundle holds two, the name says who signed.
  Cert cert = NewCert("Weir test CA " + std::to_string(std::random_device{}()), key.get(), nullptr, nullptr,
                      std::chrono::hours(1));
};

TestCa::TestCa() : impl_(std::make_unique<Impl>()), pem_(CertPem(impl_->cert.get())) {}
TestCa::~TestCa() = default;

PemPair TestCa::Issue(const std::string& common_name, std::chrono::seconds good_for) const {
  const Key key = NewKey();
  const Cert cert = NewCert(common_name, key.get(), impl_->cert.get(), impl_->key.get(), good_for);
  return {CertPem(cert.get()), ToPem([&](BIO* bio) {
            PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
          })};
}

TempDir::TempDir() {
  std::string pattern = (std::filesystem::temp_directory_path() / "weir-test-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) std::abort();
  path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ignored;  // a leftover in the temporary directory fails no test
  std::filesystem::remove_all(path_, ignored);
}

std::string TempDir::Write(const std::string& name, const std::string& content) const {
  const std::string path = path_ + "/" + name;
  std::ofstream(path) << content;
  return path;
}

void MountedSecret::Put(const Files& files) {
  namespace fs = std::filesystem;
  const fs::path root = dir_.path(), data = root / "..data",
                 before = root / (".." + std::to_string(version_));
  const std::string version = ".." + std::to_string(++version_);
  fs::create_directory(root / version);
  for (const auto& [name, content] : files) {
    std::ofstream(root / version / name) << content;
    if (!fs::is_symlink(root / name)) fs::create_symlink("..data/" + name, root / name);
  }
  fs::create_symlink(version, root / "..data_tmp");
  fs::rename(root / "..data_tmp", data);
  fs::remove_all(before);
}

std::string SerialOf(const std::string& cert_pem) {
  const std::unique_ptr<BIO, Free> bio(BIO_new_mem_buf(cert_pem.data(), static_cast<int>(cert_pem.size())));
  const Cert cert(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  if (!cert) std::abort();
  return std::to_string(ASN1_INTEGER_get(X509_get0_serialNumber(cert.get())));
}

}  // namespace weir
