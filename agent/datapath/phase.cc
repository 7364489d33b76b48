#include "agent/datapath/phase.h"

#include "agent/datapath/split_plan.h"

namespace weir::datapath {

uint32_t VanDerCorput(uint32_t number) {
  uint32_t reversed = 0;
  for (int bit = 0; bit < 32; ++bit) {
    reversed = (reversed << 1) | ((number >> bit) & 1);
  }
  return reversed;
}

uint32_t Phase(uint32_t node_number, const FrontendKey& frontend) {
  std::string text = frontend.address.address.ToBytes();
  text.push_back(static_cast<char>(frontend.address.port >> 8));
  text.push_back(static_cast<char>(frontend.address.port & 0xff));
  text.push_back(static_cast<char>(frontend.protocol));
  const uint64_t hash = Fnv1a(text);
  return VanDerCorput(node_number) + static_cast<uint32_t>(hash ^ (hash >> 32));
}

}  // namespace weir::datapath
