// nginx and wrk, and what they cost.
#pragma once

#include <string>

#include "tests/bench/scenario.h"

namespace weir::bench {

/// nginx with one worker that answers on both servers' ports; ends with the object. In `cgroup` unless that
/// is empty.
class Nginx {
 public:
  explicit Nginx(const std::string& cgroup = {});
  ~Nginx();
  Nginx(const Nginx&) = delete;
  Nginx& operator=(const Nginx&) = delete;

 private:
  std::string directory_;
  int pid_ = -1;
};

/// Requests a second, as wrk says, over 16 connections that are kept; in `cgroup` unless that is empty.
/// Aborts the bench when one request fails.
double Wrk(const std::string& cgroup, const Ipv4Port& target, int seconds);

/// What the processes of a cgroup used of the processors so far, microseconds (cpu.stat).
double ProcessorMicroseconds(const std::string& cgroup);

}  // namespace weir::bench
