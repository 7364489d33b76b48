// The files that the TLS flags name, read at the start and again whenever they change, so that a renewed
// certificate needs no restart: the one place that servers and clients have theirs from. Target
// weir_tls_files.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "common/clock.h"
#include "common/status.h"
#include "common/tls_flags.h"

namespace weir {

/// Reads and checks the files. Errors name flag, file and what is wrong: missing, unreadable, not PEM, key
/// does not match the certificate. Expiry is not checked here: a running pair may expire at any time.
Result<TlsMaterial> LoadTls(const TlsFlags& flags);

class TlsFiles {
 public:
  /// Checked, whole, and never changed: what belongs together stays together.
  struct Contents {
    TlsMaterial pem;
    std::shared_ptr<boost::asio::ssl::context> server;  // of certificate and key; null without
    std::optional<WallTime> cert_not_after;             // of the first certificate, which is ours
    std::optional<WallTime> ca_not_after;  // the last of the CA's: until then somebody can be verified
  };

  /// CheckTlsFlags and LoadTls; without any file there is nothing to read, nor to look at later.
  static Result<std::shared_ptr<TlsFiles>> Open(const TlsFlags& flags, bool server);

  const TlsFlags& flags() const { return flags_; }
  /// What is in force, for the next handshake. Any thread.
  std::shared_ptr<const Contents> contents() const;

  /// Reads the files again; true: they had changed, and are in force now. Those that are missing, half
  /// written, no PEM or no pair are an error, counted, and leave in force what is. One thread at a time.
  Result<bool> Look();

  /// Any thread.
  uint64_t reloads() const { return reloads_; }
  uint64_t reload_errors() const { return reload_errors_; }

 private:
  TlsFiles(TlsFlags flags, std::shared_ptr<const Contents> contents);

  const TlsFlags flags_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Contents> contents_;  // under the mutex
  std::atomic<uint64_t> reloads_{0}, reload_errors_{0};
};

/// Looks at the files once a second, on the io_context's thread, and logs what is new. It reads them whole, a
/// few KiB: no notification tells of every way in which a mounted Secret changes, and a time stamp may stand
/// still.
class TlsWatch {
 public:
  TlsWatch(boost::asio::io_context& context, std::shared_ptr<TlsFiles> files,
           std::chrono::milliseconds interval = std::chrono::seconds(1));
  /// The io_context has nothing left of it to do.
  void Stop();

 private:
  void Arm();
  void Look();

  std::shared_ptr<TlsFiles> files_;
  std::chrono::milliseconds interval_;
  boost::asio::steady_timer timer_;
  bool stopped_ = false;
  std::string trouble_;  // as last logged; empty: none
};

}  // namespace weir
