#include "controller/model/route_status.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/unit/controller/model/yaml_objects.h"

namespace weir::model {
namespace {

constexpr Created kThen{std::chrono::seconds(1000)}, kNow{std::chrono::seconds(2000)};

ParentRef ServiceRef(const std::string& name) { return {.group = "", .kind = "Service", .name = name}; }

Route MakeRoute(int64_t generation) {
  Route route{.key = {"shop", "r"}, .parents = {{.name = "gateway"}, ServiceRef("a")}};
  route.generation = generation;
  return route;
}

RouteVerdict Accepted() { return {{{1, {true, "Accepted", ""}}}, {true, "ResolvedRefs", ""}}; }
RouteVerdict Conflicted() {
  return {{{1, {false, "Conflicted", "HTTPRoute shop/q divides port 80"}}}, {true, "ResolvedRefs", ""}};
}

RouteParentStatus OfAnother() {
  return {{.name = "gateway"},
          "example.com/gateway",
          {{"Accepted", "True", "Accepted", "fine", 1, kThen}, {"Strange", "Unknown", "Odd", "", 0, kThen}}};
}

/// "Accepted=True/Accepted@7 since 1000"
std::string ToText(const RouteParentStatus& entry) {
  std::string text = entry.controller + " " + entry.parent.name;
  for (const Condition& condition : entry.conditions) {
    text += fmt::format(" {}={}/{}@{} since {}", condition.type, condition.status, condition.reason,
                        condition.observed_generation, condition.last_transition.time_since_epoch().count());
  }
  return text;
}

std::vector<std::string> ToText(const std::vector<RouteParentStatus>& entries) {
  std::vector<std::string> lines;
  lines.reserve(entries.size());
  for (const RouteParentStatus& entry : entries) lines.push_back(ToText(entry));
  return lines;
}

const std::string kOther =
    "example.com/gateway gateway Accepted=True/Accepted@1 since 1000 Strange=Unknown/Odd@0 since 1000";

TEST(RouteStatus, ItsGenerationIsObservedWhenAllHaveAcked) {
  const auto pending = RouteStatus(MakeRoute(1), {Accepted(), false, kThen, {OfAnother()}});
  EXPECT_EQ(ToText(pending), (std::vector<std::string>{
                                 kOther, "weir.dev/controller a Accepted=Unknown/Pending@0 since 1000"}));
  EXPECT_EQ(RouteStatus(MakeRoute(1), {Accepted(), false, kNow, pending}), pending) << "nothing to write";

  const auto accepted = RouteStatus(MakeRoute(1), {Accepted(), true, kNow, pending});
  EXPECT_EQ(ToText(accepted),
            (std::vector<std::string>{kOther,
                                      "weir.dev/controller a Accepted=True/Accepted@1 since 2000 "
                                      "ResolvedRefs=True/ResolvedRefs@1 since 2000"}));

  // Flagger writes new weights.
  const Created later = kNow + std::chrono::seconds(1000);
  EXPECT_EQ(RouteStatus(MakeRoute(2), {Accepted(), false, later, accepted}), accepted);
  EXPECT_EQ(
      ToText(RouteStatus(MakeRoute(2), {Accepted(), true, later, accepted}))[1],
      "weir.dev/controller a Accepted=True/Accepted@2 since 2000 ResolvedRefs=True/ResolvedRefs@2 since "
      "2000")
      << "no transition";
}

TEST(RouteStatus, ARefusalIsSaidAtOnce) {
  const auto accepted = RouteStatus(MakeRoute(1), {Accepted(), true, kThen, {}});
  const auto refused = RouteStatus(MakeRoute(2), {Conflicted(), false, kNow, accepted});
  EXPECT_EQ(ToText(refused),
            std::vector<std::string>{"weir.dev/controller a Accepted=False/Conflicted@2 since 2000 "
                                     "ResolvedRefs=True/ResolvedRefs@2 since 1000"});
  EXPECT_EQ(refused[0].conditions[0].message, "HTTPRoute shop/q divides port 80");
  // The conflict is gone; until the weights are everywhere the old word stands.
  EXPECT_EQ(RouteStatus(MakeRoute(2), {Accepted(), false, kNow, refused}), refused);
}

TEST(RouteStatus, ReferencesThatLeadNowhere) {
  RouteVerdict verdict = Accepted();
  verdict.resolved_refs = {false, "BackendNotFound", "found no Service shop/x"};
  EXPECT_EQ(ToText(RouteStatus(MakeRoute(3), {verdict, true, kNow, {}})),
            std::vector<std::string>{"weir.dev/controller a Accepted=True/Accepted@3 since 2000 "
                                     "ResolvedRefs=False/BackendNotFound@3 since 2000"});
}

TEST(RouteStatus, EntriesOfParentsThatAreNamedNoMoreGo) {
  RouteParentStatus old = RouteStatus(MakeRoute(1), {Accepted(), true, kThen, {}})[0];
  old.parent.name = "b";
  RouteParentStatus foreign = old;
  foreign.controller = "example.com/mesh";
  const auto parents = RouteStatus(MakeRoute(1), {Accepted(), true, kNow, {old, foreign}});
  ASSERT_EQ(parents.size(), 2U);
  EXPECT_EQ(parents[0], foreign) << "another mesh's word on the same parent is its own";
  EXPECT_EQ(parents[1].parent, ServiceRef("a"));
}

TEST(RouteStatus, AParentSpelledOtherwiseIsAnother) {
  Route route = MakeRoute(1);
  const auto before = RouteStatus(route, {Accepted(), true, kThen, {}});
  route.parents[1].group = "core";
  const auto after = RouteStatus(route, {Accepted(), true, kNow, before});
  ASSERT_EQ(after.size(), 1U);
  EXPECT_EQ(after[0].parent, route.parents[1]);
  EXPECT_EQ(after[0].conditions[0].last_transition, kNow);
}

TEST(RouteStatus, AMessageHasALimit) {
  RouteVerdict verdict = Conflicted();
  verdict.accepted[1].message = std::string(1023, 'a') + "\u00e9" + std::string(5000, 'b');
  EXPECT_EQ(RouteStatus(MakeRoute(1), {verdict, false, kNow, {}})[0].conditions[0].message,
            std::string(1023, 'a') + "...");
}

TEST(RouteStatus, NoEntryForAGateway) {
  EXPECT_TRUE(RouteStatus(MakeRoute(1), {RouteVerdict{}, true, kNow, {}}).empty());
}

TEST(RouteStatus, TheApiTakesThirtyTwoEntries) {
  std::vector<RouteParentStatus> present(32, OfAnother());
  EXPECT_EQ(RouteStatus(MakeRoute(1), {Accepted(), true, kNow, present}), present);
}

TEST(RouteStatusJson, ReadsBackWhatItWrites) {
  Route route = MakeRoute(1);
  route.parents[1] = {
      .group = "core", .kind = "Service", .ns = "shop", .name = "a", .section_name = "http", .port = 80};
  const auto parents = RouteStatus(route, {Accepted(), true, kNow, {OfAnother()}});
  const boost::json::object status = WriteRouteParents(parents);
  const auto again = ReadRouteParents(boost::json::object{{"status", status}});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(*again, parents);
  EXPECT_EQ(
      boost::json::serialize(status.at("parents").at(1).at("parentRef")),
      R"({"group":"core","kind":"Service","namespace":"shop","name":"a","sectionName":"http","port":80})");
  EXPECT_EQ(boost::json::serialize(status.at("parents").at(0).at("parentRef")), R"({"name":"gateway"})")
      << "what is left out stays out";
  EXPECT_EQ(boost::json::serialize(status.at("parents").at(1).at("conditions").at(0)),
            R"({"type":"Accepted","status":"True","reason":"Accepted","message":"","observedGeneration":1,)"
            R"("lastTransitionTime":"1970-01-01T00:33:20Z"})");
}

TEST(RouteStatusJson, NoneYetAndNotAsTheApiHasIt) {
  for (const char* none :
       {"{}", R"({"status": null})", R"({"status": {}})", R"({"status": {"parents": []}})"}) {
    const auto parents = ReadRouteParents(boost::json::parse(none));
    ASSERT_TRUE(parents.ok()) << none;
    EXPECT_TRUE(parents->empty());
  }
  for (
      const char* bad :
      {"[]", R"({"status": 1})", R"({"status": {"parents": [{}]}})",
       R"({"status": {"parents": [{"parentRef": {"name": "a", "port": 70000}, "controllerName": "x"}]}})",
       R"({"status": {"parents": [{"parentRef": {"name": "a"}, "controllerName": "x", "conditions": [{}]}]}})"}) {
    const auto parents = ReadRouteParents(boost::json::parse(bad));
    EXPECT_EQ(parents.status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

}  // namespace
}  // namespace weir::model
