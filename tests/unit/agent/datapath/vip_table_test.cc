// The table of VIPs against a map, with the memory it lives in looked at as a BPF program looks at it.
#include "agent/datapath/vip_table.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>
#include <vector>

#include "bpf/lib/vips.h"

namespace weir::datapath {
namespace {

weir_vip_key Key(uint32_t number) {
  weir_vip_key key{};
  key.address.bytes[10] = key.address.bytes[11] = 0xff;
  key.address.bytes[12] = 10;
  std::memcpy(&key.address.bytes[13], &number, 3);
  key.port_be = static_cast<__be16>(number >> 24);
  key.protocol = 6;
  return key;
}

TEST(VipTableTest, KnowsWhatIsInIt) {
  std::vector<weir_vip> memory(1024);
  VipTable table(memory.data(), 1024);
  std::map<uint32_t, uint32_t> wanted;  // number -> index
  std::mt19937 random(7);
  for (int step = 0; step < 200'000; ++step) {
    const uint32_t number = random() % 600;
    const weir_vip_key key = Key(number);
    const auto known = wanted.find(number);
    if (known == wanted.end()) {
      ASSERT_EQ(table.Find(key, 0), std::nullopt) << "step " << step;
      if (wanted.size() >= 400) continue;
      const auto index = table.Insert(key, 0);
      ASSERT_TRUE(index.has_value()) << "step " << step;
      wanted[number] = *index;
    } else {
      ASSERT_EQ(table.Find(key, 0), known->second) << "step " << step;
      if (random() % 2 == 0) continue;
      table.Remove(known->second);
      wanted.erase(known);
    }
  }
  // An entry stays where it was, whatever came and went around it.
  for (const auto& [number, index] : wanted) EXPECT_EQ(table.Find(Key(number), 0), index);
  for (const auto& [number, index] : std::map(wanted)) table.Remove(index);
  // What was removed does not make searches longer for ever: nothing in use, and hardly a trace of it.
  size_t marked = 0;
  for (const weir_vip& entry : memory) marked += entry.tag == WEIR_VIP_REMOVED ? 1 : 0;
  EXPECT_EQ(marked, 0U);
}

TEST(VipTableTest, OneKeyHasAnEntryForEachOfItsConsumers) {
  std::vector<weir_vip> memory(256);
  VipTable table(memory.data(), 256);
  std::map<uint32_t, uint32_t> wanted;  // consumers -> index
  for (const uint32_t consumers : {0U, 7U, 8U, ~0U}) {
    ASSERT_EQ(table.Find(Key(1), consumers), std::nullopt);
    wanted[consumers] = table.Insert(Key(1), consumers).value();
  }
  for (const auto& [consumers, index] : wanted) {
    EXPECT_EQ(table.Find(Key(1), consumers), index);
    EXPECT_EQ(table[index].consumers, consumers);
  }
  table.Remove(wanted[7]);
  EXPECT_EQ(table.Find(Key(1), 7), std::nullopt);
  EXPECT_EQ(table.Find(Key(1), 0), wanted[0]);
  const uint32_t again = table.Insert(Key(2), 0).value();
  EXPECT_EQ(table[again].consumers, 0U) << "nothing is left of who was there before";
}

TEST(VipTableTest, FillsToTheLastEntryAndRefusesTheNext) {
  std::vector<weir_vip> memory(64);
  VipTable table(memory.data(), 64);
  for (uint32_t i = 0; i < 64; ++i) ASSERT_TRUE(table.Insert(Key(i), 0).has_value()) << i;
  EXPECT_EQ(table.Insert(Key(64), 0), std::nullopt);
  EXPECT_EQ(table.Find(Key(64), 0), std::nullopt);
  table.Remove(*table.Find(Key(17), 0));
  EXPECT_TRUE(table.Insert(Key(64), 0).has_value());
  EXPECT_EQ(table.Find(Key(17), 0), std::nullopt);
}

TEST(VipTableTest, FindsRoomAtTheLoadTheMapsAllow) {
  // A change of everything beside what it replaces: twice 12,288 in 65,536 entries; addresses of one range,
  // as a cluster gives them.
  std::vector<weir_vip> memory(65536);
  VipTable table(memory.data(), 65536);
  uint32_t farthest = 0;
  for (uint32_t i = 0; i < 2 * 12288; ++i) {
    const weir_vip_key key = Key(i);
    const auto index = table.Insert(key, 0);
    ASSERT_TRUE(index.has_value()) << i;
    farthest = std::max(farthest, (*index - static_cast<uint32_t>(weir_vip_hash(&key, 0))) & 65535U);
  }
  EXPECT_LT(farthest, uint32_t{WEIR_MAX_PROBES} / 2);
}

}  // namespace
}  // namespace weir::datapath
