// Pods of namespaces that have Services divided for themselves: which, on which node.
#include "controller/kubernetes/source/consumers.h"

#include <gtest/gtest.h>

#include "controller/model/claims.h"

namespace weir::kubernetes {
namespace {

namespace json = boost::json;

std::set<std::string> UidsOn(const Consumers& consumers, const std::string& node) {
  std::set<std::string> uids;
  const v1::Consumers told = consumers.On(node);
  for (const v1::ConsumerPod& pod : told.pods()) uids.insert(pod.uid());
  return uids;
}

TEST(Consumers, EachNodeIsToldOfItsOwn) {
  Consumers consumers;
  EXPECT_TRUE(consumers.complete());
  consumers.SetNamespaces({"lab"});
  consumers.Put({"lab", "a"}, PodPlace{"n1", "u-a"});
  consumers.Put({"lab", "b"}, PodPlace{"n2", "u-b"});
  consumers.Put({"shop", "c"}, PodPlace{"n1", "u-c"});
  EXPECT_FALSE(consumers.complete()) << "there may be more";
  consumers.Listed("lab");
  EXPECT_TRUE(consumers.complete());
  EXPECT_EQ(consumers.TakeChanged(), (std::set<std::string>{"n1", "n2"}));
  EXPECT_EQ(UidsOn(consumers, "n1"), std::set<std::string>{"u-a"});
  EXPECT_EQ(consumers.On("n1").pods(0).consumers(), model::ConsumersNumber("lab"));
  EXPECT_EQ(UidsOn(consumers, "n2"), std::set<std::string>{"u-b"});
  EXPECT_EQ(UidsOn(consumers, "n3"), std::set<std::string>{});
}

TEST(Consumers, OnlyNewsIsTold) {
  Consumers consumers;
  consumers.SetNamespaces({"lab"});
  consumers.Put({"lab", "a"}, PodPlace{"n1", "u-a"});
  consumers.TakeChanged();
  consumers.Put({"lab", "a"}, PodPlace{"n1", "u-a"});
  EXPECT_TRUE(consumers.TakeChanged().empty());
  consumers.Put({"lab", "a"}, PodPlace{"n1", "u-a2"});  // a StatefulSet's, made anew
  EXPECT_EQ(consumers.TakeChanged(), std::set<std::string>{"n1"});
  EXPECT_EQ(UidsOn(consumers, "n1"), std::set<std::string>{"u-a2"});
  consumers.Put({"lab", "a"}, PodPlace{"n2", "u-a3"});
  EXPECT_EQ(consumers.TakeChanged(), (std::set<std::string>{"n1", "n2"}));
  consumers.Put({"lab", "a"}, std::nullopt);
  EXPECT_EQ(consumers.TakeChanged(), std::set<std::string>{"n2"});
  EXPECT_EQ(UidsOn(consumers, "n2"), std::set<std::string>{});
}

TEST(Consumers, ANamespaceThatCountsNoMoreIsForgotten) {
  Consumers consumers;
  consumers.SetNamespaces({"lab", "den"});
  consumers.Listed("lab");
  consumers.Listed("den");
  consumers.Listed("shop");
  consumers.Put({"lab", "a"}, PodPlace{"n1", "u-a"});
  consumers.Put({"den", "b"}, PodPlace{"n1", "u-b"});
  consumers.TakeChanged();
  consumers.SetNamespaces({"den"});
  EXPECT_TRUE(consumers.complete());
  EXPECT_EQ(consumers.TakeChanged(), std::set<std::string>{"n1"});
  EXPECT_EQ(UidsOn(consumers, "n1"), std::set<std::string>{"u-b"});
  consumers.SetNamespaces({"den", "lab"});
  EXPECT_FALSE(consumers.complete()) << "it is listed anew";
}

json::object Pod(const std::string& text) { return json::parse(text).as_object(); }

TEST(Consumers, WhatOfAPodIsRead) {
  json::object pod =
      Pod(R"({"metadata": {"namespace": "lab", "name": "a", "uid": "u-1", "resourceVersion": "7",
      "labels": {"x": "y"}}, "spec": {"nodeName": "n1", "containers": []}, "status": {"phase": "Pending"}})");
  ASSERT_TRUE(TrimPlacedPod(pod)) << "before it runs: what it dials first counts too";
  EXPECT_EQ(PodPlaceOf(pod), (PodPlace{"n1", "u-1"}));
  EXPECT_EQ(KeyOf(pod), (ObjectKey{"lab", "a"}));
  EXPECT_EQ(ResourceVersionOf(pod), "7");
  EXPECT_FALSE(pod.at("metadata").as_object().contains("labels")) << "memory";

  pod = Pod(R"({"metadata": {"namespace": "lab", "name": "a", "uid": "u-1", "annotations":
      {"kubernetes.io/config.hash": "0123456789abcdef0123456789abcdef"}}, "spec": {"nodeName": "n1"}})");
  ASSERT_TRUE(TrimPlacedPod(pod));
  EXPECT_EQ(PodPlaceOf(pod).uid, "0123456789abcdef0123456789abcdef") << "a static pod's cgroup is called so";

  for (const char* const text :
       {R"({"metadata": {"name": "a"}, "spec": {}})",
        R"({"metadata": {"name": "a"}, "spec": {"nodeName": "n"}, "status": {"phase": "Failed"}})",
        R"({"metadata": {"name": "a"}, "spec": {"nodeName": "n"}, "status": {"phase": "Succeeded"}})"}) {
    pod = Pod(text);
    EXPECT_FALSE(TrimPlacedPod(pod)) << text;
  }
}

}  // namespace
}  // namespace weir::kubernetes
