#include "controller/kubernetes/leader/routes.h"

#include <gtest/gtest.h>

#include "controller/model/admit.h"
#include "controller/model/json_object.h"

namespace weir::kubernetes {
namespace {

namespace json = boost::json;

class RoutesTest : public ::testing::Test {
 protected:
  RoutesTest() {
    Admit(R"({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "web"},
              "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 80}]}})");
  }
  void Admit(std::string_view text) {
    const json::object object = json::parse(text).get_object();
    auto read = model::ReadJson(object, "", "");
    ASSERT_TRUE(read.ok()) << read.status();
    admitter_.Take({{*read}, {}});
  }
  /// As the watch tells it; not taken up yet.
  static json::object Route(int generation, int version, const json::value& status = nullptr,
                            std::string_view parent = "web") {
    json::object route =
        json::parse(R"({"apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "HTTPRoute",
                        "metadata": {"namespace": "shop", "name": "web"},
                        "spec": {"parentRefs": [{"group": "", "kind": "Service"}],
                                 "rules": [{"backendRefs": [{"name": "web", "port": 80}]}]}})")
            .get_object();
    route["metadata"].get_object()["generation"] = generation;
    route["metadata"].get_object()["resourceVersion"] = std::to_string(version);
    route["spec"].at("parentRefs").at(0).get_object()["name"] = parent;
    if (!status.is_null()) route["status"] = status;
    return route;
  }
  void TakeUp(const json::object& route, uint64_t generation) {
    Admit(json::serialize(route));
    routes_.TakenUp(admitter_.routes(), generation);
  }
  std::optional<StatusToWrite> Status(uint64_t acked) {
    return routes_.MakeStatus(
        key_, [acked](uint64_t generation) { return generation <= acked; }, model::Created{});
  }
  static std::string Accepted(const std::optional<StatusToWrite>& status) {
    if (!status) return "as it is";
    const json::value& condition = status->members.at("parents").at(0).at("conditions").at(0);
    return fmt::format("{}@{} if at {}", std::string(condition.at("reason").get_string()),
                       condition.at("observedGeneration").to_number<int64_t>(), status->resource_version);
  }

  const StatusKey key_{{"gateway.networking.k8s.io", "v1beta1", "httproutes"}, {"shop", "web"}};
  model::Admitter admitter_;
  Routes routes_;
};

TEST_F(RoutesTest, NothingIsSaidOfWhatIsNotTakenUp) {
  EXPECT_EQ(routes_.Put(model::RouteKind::kHttp, Route(1, 100)), key_)
      << "in the version in which it was read";
  TakeUp(Route(1, 100), 7);
  const auto status = Status(/*acked=*/7);
  EXPECT_EQ(Accepted(status), "Accepted@1 if at 100");
  routes_.Put(model::RouteKind::kHttp, Route(1, 101, status->members));
  EXPECT_EQ(Accepted(Status(7)), "as it is");

  // Newer weights that are not compiled yet: that all agents have what was before means nothing.
  routes_.Put(model::RouteKind::kHttp, Route(2, 102, status->members));
  EXPECT_EQ(Accepted(Status(7)), "as it is");
  TakeUp(Route(2, 102), 8);
  EXPECT_EQ(Accepted(Status(7)), "as it is") << "not acked";
  EXPECT_EQ(Accepted(Status(8)), "Accepted@2 if at 102");
}

TEST_F(RoutesTest, AStatusAloneIsNoNewRoute) {
  routes_.Put(model::RouteKind::kHttp, Route(1, 100));
  TakeUp(Route(1, 100), 7);
  routes_.TakenUp(admitter_.routes(), 9);
  routes_.Put(model::RouteKind::kHttp, Route(1, 103, json::object{{"parents", json::array()}}));
  EXPECT_EQ(Accepted(Status(7)), "Accepted@1 if at 103") << "in force since 7";
}

TEST_F(RoutesTest, AnotherVerdictWaitsForAcksAsNewWeightsDo) {
  routes_.Put(model::RouteKind::kHttp, Route(1, 100, nullptr, "later"));
  TakeUp(Route(1, 100, nullptr, "later"), 7);
  const auto refused = Status(0);
  EXPECT_EQ(Accepted(refused), "NoMatchingParent@1 if at 100") << "said at once";
  routes_.Put(model::RouteKind::kHttp, Route(1, 101, refused->members, "later"));
  Admit(R"({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "later"},
            "spec": {"clusterIP": "10.96.0.2", "ports": [{"port": 80}]}})");
  routes_.TakenUp(admitter_.routes(), 8);
  EXPECT_EQ(Accepted(Status(7)), "as it is");
  EXPECT_EQ(Accepted(Status(8)), "Accepted@1 if at 101");
}

TEST_F(RoutesTest, WhatIsGoneHasNoStatus) {
  routes_.Put(model::RouteKind::kHttp, Route(1, 100));
  EXPECT_EQ(routes_.Keys(), std::vector{key_});
  EXPECT_EQ(routes_.Remove(model::RouteKind::kHttp, key_.key), key_);
  EXPECT_EQ(routes_.Remove(model::RouteKind::kHttp, key_.key), std::nullopt);
  EXPECT_EQ(Accepted(Status(9)), "as it is");
}

}  // namespace
}  // namespace weir::kubernetes
