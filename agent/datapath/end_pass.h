// One pass of ending connections: find where there are any, go there, end them, look whether any is left.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "agent/datapath/ending.h"
#include "agent/datapath/namespaces.h"

namespace weir::datapath {

/// Blocks, and changes the calling thread's network namespace while it works.
class EndPass {
 public:
  /// Links of the iterators of bpf/ending.bpf.c, and where the thread belongs.
  struct Handles {
    int find, tcp, udp, own_namespace;
  };
  struct Outcome {
    std::map<uint64_t, SweptOrder> orders;  // by their number in the kernel
    std::vector<std::string> failures;
  };

  EndPass(const Handles& handles, uint64_t own_number) : handles_(handles), own_number_(own_number) {}
  Outcome Run();

 private:
  /// What is open in one network namespace.
  struct Open {
    std::map<uint64_t, uint64_t> orders;  // sockets by order
    bool tcp = false, udp = false;
  };
  struct Found {
    std::map<uint64_t, Open> namespaces;
    std::map<uint64_t, uint64_t> multipath;  // sockets by order
    bool under_way = false;
  };

  Result<Found> Find() const;
  void EndIn(uint64_t number, const Open& open, const std::map<uint64_t, UniqueFd>& others);
  Status Walk(const Open& open) const;
  void Fail(uint64_t number, std::string why);

  const Handles handles_;
  const uint64_t own_number_;
  std::map<uint64_t, std::string> failed_;  // namespaces that are not tried again
  Outcome outcome_;
};

}  // namespace weir::datapath
