// The structs of maps.h and end.h have the same layout for g++ as in the BPF objects' BTF.
#include <bpf/btf.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <map>
#include <memory>
#include <string>

#include "weir/end.h"
#include "weir/maps.h"

namespace {

struct Member {
  std::string name;
  size_t offset;
};

class LayoutTest : public ::testing::Test {
 protected:
  void SetUp() override { Parse(WEIR_SOCKET_OBJECT); }

  void Parse(const char* object) {
    btf_.reset(btf__parse(object, nullptr));
    ASSERT_NE(btf_, nullptr) << object;
  }

  void Expect(const char* name, size_t size, const std::vector<Member>& members) {
    const int id = btf__find_by_name_kind(btf_.get(), name, BTF_KIND_STRUCT);
    ASSERT_GT(id, 0) << name << " is not in the object's BTF";
    const btf_type* type = btf__type_by_id(btf_.get(), static_cast<uint32_t>(id));
    EXPECT_EQ(type->size, size) << name;
    std::map<std::string, size_t> found;
    const btf_member* member = btf_members(type);
    for (uint32_t i = 0; i < btf_vlen(type); ++i) {
      found[btf__name_by_offset(btf_.get(), member[i].name_off)] = btf_member_bit_offset(type, i) / 8;
    }
    ASSERT_EQ(found.size(), members.size()) << name << ": members were added; name them here";
    for (const Member& wanted : members) {
      ASSERT_TRUE(found.contains(wanted.name)) << name << "." << wanted.name;
      EXPECT_EQ(found[wanted.name], wanted.offset) << name << "." << wanted.name;
    }
  }

 private:
  struct Free {
    void operator()(btf* object) const { btf__free(object); }
  };
  std::unique_ptr<btf, Free> btf_;
};

#define MEMBER(type, member) \
  Member { #member, offsetof(struct type, member) }

TEST_F(LayoutTest, MatchesTheObject) {
  Expect("weir_vip_key", sizeof(weir_vip_key),
         {MEMBER(weir_vip_key, address), MEMBER(weir_vip_key, port_be), MEMBER(weir_vip_key, protocol),
          MEMBER(weir_vip_key, pad)});
  Expect("weir_vip", sizeof(weir_vip),
         {MEMBER(weir_vip, tag), MEMBER(weir_vip, slot), MEMBER(weir_vip, key), MEMBER(weir_vip, consumers),
          MEMBER(weir_vip, next), MEMBER(weir_vip, guard)});
  Expect(
      "weir_guard", sizeof(weir_guard),
      {MEMBER(weir_guard, diverted), MEMBER(weir_guard, canary_failed), MEMBER(weir_guard, stable_answered),
       MEMBER(weir_guard, tripped), MEMBER(weir_guard, failing), MEMBER(weir_guard, pad)});
  Expect("weir_contact", sizeof(weir_contact), {MEMBER(weir_contact, heard_ns), MEMBER(weir_contact, pad)});
  Expect("weir_failing_key", sizeof(weir_failing_key),
         {MEMBER(weir_failing_key, vip), MEMBER(weir_failing_key, endpoint)});
  Expect("weir_failing", sizeof(weir_failing),
         {MEMBER(weir_failing, in_row), MEMBER(weir_failing, answered)});
  Expect("weir_variant", sizeof(weir_variant),
         {MEMBER(weir_variant, id), MEMBER(weir_variant, weight), MEMBER(weir_variant, first_endpoint),
          MEMBER(weir_variant, endpoint_count), MEMBER(weir_variant, index), MEMBER(weir_variant, series),
          MEMBER(weir_variant, trip_after)});
  Expect("weir_split", sizeof(weir_split),
         {MEMBER(weir_split, key), MEMBER(weir_split, service), MEMBER(weir_split, generation),
          MEMBER(weir_split, cursor), MEMBER(weir_split, total_weight), MEMBER(weir_split, offset),
          MEMBER(weir_split, affinity_timeout_s), MEMBER(weir_split, variant_count),
          MEMBER(weir_split, first_pick), MEMBER(weir_split, on_empty), MEMBER(weir_split, flags),
          MEMBER(weir_split, variants), MEMBER(weir_split, wide), MEMBER(weir_split, zero),
          MEMBER(weir_split, fail_safe_ms)});
  Expect("weir_wide", sizeof(weir_wide), {MEMBER(weir_wide, variants)});
  Expect("weir_endpoint", sizeof(weir_endpoint),
         {MEMBER(weir_endpoint, address), MEMBER(weir_endpoint, port_be), MEMBER(weir_endpoint, pad)});
  Expect("weir_cursor", sizeof(weir_cursor),
         {MEMBER(weir_cursor, lock), MEMBER(weir_cursor, pad), MEMBER(weir_cursor, next),
          MEMBER(weir_cursor, deficit), MEMBER(weir_cursor, picked)});
  Expect("weir_grace_cpu", sizeof(weir_grace_cpu),
         {MEMBER(weir_grace_cpu, entered), MEMBER(weir_grace_cpu, left), MEMBER(weir_grace_cpu, chosen),
          MEMBER(weir_grace_cpu, pad)});
  Expect("weir_state", sizeof(weir_state),
         {MEMBER(weir_state, schema), MEMBER(weir_state, phase), MEMBER(weir_state, generation),
          MEMBER(weir_state, controller_id), MEMBER(weir_state, node_number), MEMBER(weir_state, next_series),
          MEMBER(weir_state, epoch), MEMBER(weir_state, packets_since_ns)});
  Expect("weir_http_parser", sizeof(weir_http_parser),
         {MEMBER(weir_http_parser, phase), MEMBER(weir_http_parser, at), MEMBER(weir_http_parser, word),
          MEMBER(weir_http_parser, seen), MEMBER(weir_http_parser, begun_at),
          MEMBER(weir_http_parser, remaining), MEMBER(weir_http_parser, method),
          MEMBER(weir_http_parser, offset), MEMBER(weir_http_parser, end), MEMBER(weir_http_parser, chunk_at),
          MEMBER(weir_http_parser, chunk_end), MEMBER(weir_http_parser, begun),
          MEMBER(weir_http_parser, counted), MEMBER(weir_http_parser, outstanding),
          MEMBER(weir_http_parser, verdict), MEMBER(weir_http_parser, pad), MEMBER(weir_http_parser, chunk)});
  Expect("weir_http_sock", sizeof(weir_http_sock),
         {MEMBER(weir_http_sock, lock), MEMBER(weir_http_sock, state),
          MEMBER(weir_http_sock, requested_at_ns), MEMBER(weir_http_sock, request_seq),
          MEMBER(weir_http_sock, response_seq), MEMBER(weir_http_sock, received_end),
          MEMBER(weir_http_sock, gathered), MEMBER(weir_http_sock, status), MEMBER(weir_http_sock, interim),
          MEMBER(weir_http_sock, matched), MEMBER(weir_http_sock, flags), MEMBER(weir_http_sock, pad),
          MEMBER(weir_http_sock, series), MEMBER(weir_http_sock, sent_end), MEMBER(weir_http_sock, synced),
          MEMBER(weir_http_sock, asked), MEMBER(weir_http_sock, pad2), MEMBER(weir_http_sock, parser)});
  Expect("weir_pod", sizeof(weir_pod), {MEMBER(weir_pod, consumers), MEMBER(weir_pod, pad)});
  Expect("weir_sock", sizeof(weir_sock),
         {MEMBER(weir_sock, vip), MEMBER(weir_sock, endpoint), MEMBER(weir_sock, variant_id),
          MEMBER(weir_sock, generation), MEMBER(weir_sock, connect_ns), MEMBER(weir_sock, service),
          MEMBER(weir_sock, variant), MEMBER(weir_sock, series), MEMBER(weir_sock, phase),
          MEMBER(weir_sock, guarded), MEMBER(weir_sock, all_known), MEMBER(weir_sock, pad),
          MEMBER(weir_sock, sent_seen), MEMBER(weir_sock, received_seen), MEMBER(weir_sock, retransmits_seen),
          MEMBER(weir_sock, opened_counted)});
  Expect("weir_udp_flow", sizeof(weir_udp_flow),
         {MEMBER(weir_udp_flow, vip), MEMBER(weir_udp_flow, endpoint), MEMBER(weir_udp_flow, variant_id),
          MEMBER(weir_udp_flow, endpoint_index), MEMBER(weir_udp_flow, current),
          MEMBER(weir_udp_flow, series), MEMBER(weir_udp_flow, pad)});
  Expect("weir_udp_flows", sizeof(weir_udp_flows),
         {MEMBER(weir_udp_flows, lock), MEMBER(weir_udp_flows, next), MEMBER(weir_udp_flows, flows)});
  Expect("weir_series", sizeof(weir_series),
         {MEMBER(weir_series, ns), MEMBER(weir_series, service), MEMBER(weir_series, revision)});
  Expect("weir_histogram", sizeof(weir_histogram),
         {MEMBER(weir_histogram, sum_ns), MEMBER(weir_histogram, buckets)});
  Expect("weir_stats", sizeof(weir_stats),
         {MEMBER(weir_stats, opened), MEMBER(weir_stats, closed), MEMBER(weir_stats, failed),
          MEMBER(weir_stats, bytes_sent), MEMBER(weir_stats, bytes_received), MEMBER(weir_stats, retransmits),
          MEMBER(weir_stats, resets_received), MEMBER(weir_stats, udp_datagrams_sent),
          MEMBER(weir_stats, udp_datagrams_received), MEMBER(weir_stats, udp_bytes_sent),
          MEMBER(weir_stats, udp_bytes_received), MEMBER(weir_stats, http_requests),
          MEMBER(weir_stats, http_no_response), MEMBER(weir_stats, http_opaque),
          MEMBER(weir_stats, http_connections), MEMBER(weir_stats, http_error_connections),
          MEMBER(weir_stats, connect), MEMBER(weir_stats, srtt)});
  Expect("weir_http_key", sizeof(weir_http_key),
         {MEMBER(weir_http_key, series), MEMBER(weir_http_key, code)});
  Expect("weir_affinity_key", sizeof(weir_affinity_key),
         {MEMBER(weir_affinity_key, vip), MEMBER(weir_affinity_key, pad),
          MEMBER(weir_affinity_key, netns_cookie)});
  Expect("weir_affinity", sizeof(weir_affinity),
         {MEMBER(weir_affinity, endpoint), MEMBER(weir_affinity, endpoint_index),
          MEMBER(weir_affinity, variant_id), MEMBER(weir_affinity, last_used_ns)});
}

TEST_F(LayoutTest, MatchesTheObjectThatEnds) {
  ASSERT_NO_FATAL_FAILURE(Parse(WEIR_ENDING_OBJECT));
  Expect("weir_end_key", sizeof(weir_end_key),
         {MEMBER(weir_end_key, vip), MEMBER(weir_end_key, endpoint), MEMBER(weir_end_key, variant_id)});
  Expect("weir_end", sizeof(weir_end),
         {MEMBER(weir_end, order), MEMBER(weir_end, tcp), MEMBER(weir_end, udp)});
}

}  // namespace
