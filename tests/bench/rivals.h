// What else divides connections: kube-proxy's iptables and nftables rules, and HAProxy in TCP mode. Each is
// given the services of scenario.h, in a network namespace of its own.
#pragma once

#include <cstdint>
#include <string>

#include "common/fd.h"

namespace weir::bench {

/// Loads the rules; returns the seconds iptables-restore took. `directory` holds the file meanwhile.
double LoadIptables(uint32_t services, int netns_fd, const std::string& directory);
/// Likewise with `nft -f`, 500 services at a time.
double LoadNftables(uint32_t services, int netns_fd, const std::string& directory);

/// A running HAProxy; ends with the object. Starts in `netns_fd`, on one thread.
class Haproxy {
 public:
  Haproxy(uint32_t services, int netns_fd, const std::string& directory);
  ~Haproxy();
  Haproxy(const Haproxy&) = delete;
  Haproxy& operator=(const Haproxy&) = delete;
  /// Until it listens on all addresses.
  double start_seconds() const { return start_seconds_; }

 private:
  int pid_ = -1;
  double start_seconds_ = 0;
};

}  // namespace weir::bench
