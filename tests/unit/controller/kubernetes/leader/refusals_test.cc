#include "controller/kubernetes/leader/refusals.h"

#include <gtest/gtest.h>

namespace weir::kubernetes {
namespace {

namespace json = boost::json;

class RefusalsTest : public ::testing::Test {
 protected:
  void Put(const std::string& service, const std::string& uid = "1", const std::string& weight = "1") {
    const json::object split =
        json::parse(fmt::format(
                        R"({{"apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
                             "metadata": {{"namespace": "shop", "name": "web", "uid": "{}"}},
                             "spec": {{"service": "{}", "backends": [{{"service": "a", "weight": {}}}]}}}})",
                        uid, service, weight))
            .get_object();
    catalog_.Put(split);
    refusals_.Put(split);
    Look();
  }
  void Look() {
    catalog_.Take();
    refusals_.Look(catalog_);
  }
  std::string Told() { return std::exchange(told_, ""); }

  Catalog catalog_;
  std::string told_;
  Refusals refusals_{[this](const EventSubject& subject, const std::string& why) {
    told_ += subject.kind + " " + subject.uid + " " + why.substr(0, why.find(',')) + "\n";
  }};
};

TEST_F(RefusalsTest, OncePerReason) {
  Put("web");
  EXPECT_EQ(Told(), "TrafficSplit 1 spec.service: found the unknown Service shop/web\n");
  Put("web");
  Look();
  EXPECT_EQ(Told(), "");
  Put("shop");
  EXPECT_EQ(Told(), "TrafficSplit 1 spec.service: found the unknown Service shop/shop\n");
}

TEST_F(RefusalsTest, WhatCannotBeReadAsWell) {
  Put("web", "1", "-1");
  EXPECT_NE(Told().find("spec.backends[0].weight: found"), std::string::npos);
}

TEST_F(RefusalsTest, AnotherObjectOfThatNameIsAnotherSubject) {
  Put("web");
  Told();
  Put("web", "2");
  EXPECT_EQ(Told(), "TrafficSplit 2 spec.service: found the unknown Service shop/web\n");
  refusals_.Remove("TrafficSplit", {"shop", "web"});
  Look();
  EXPECT_EQ(Told(), "");
}

}  // namespace
}  // namespace weir::kubernetes
