// The reflector's states, with the answers played.
#include "controller/kubernetes/client/reflector_core.h"

#include <gtest/gtest.h>

#include <vector>

#include "controller/kubernetes/client/api_error.h"
#include "controller/kubernetes/client/line_reader.h"

namespace weir::kubernetes {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Strings = std::vector<std::string>;
using Action = ReflectorCore::Action;

json::object Object(const std::string& name, const std::string& version) {
  return {{"metadata",
           {{"name", name}, {"namespace", "shop"}, {"resourceVersion", version}, {"managedFields", {1}}}}};
}
json::value Page(const std::string& version, const std::vector<json::object>& objects,
                 const std::string& more = "") {
  json::array items(objects.begin(), objects.end());
  return {{"metadata", {{"resourceVersion", version}, {"continue", more}}}, {"items", items}};
}
std::string Line(std::string_view type, const json::object& object) {
  return json::serialize(json::object{{"type", type}, {"object", object}});
}
std::string ErrorLine(int code) {
  return Line("ERROR", {{"kind", "Status"}, {"code", code}, {"message", "too old"}});
}
Status Http(unsigned code, seconds retry_after = seconds(0)) {
  return ApiError("GET x", code, nullptr, retry_after);
}

class ReflectorCoreTest : public ::testing::Test {
 protected:
  ReflectorCoreTest() : core_(Options(), Callbacks(), [] { return 0.5; }) {}

  static ReflectorOptions Options() {
    ReflectorOptions options;
    options.resource = {"apps", "v1", "deployments"};
    options.ns = "shop";
    options.label_selector = "a=b";
    return options;
  }
  ReflectorCallbacks Callbacks() {
    ReflectorCallbacks callbacks;
    callbacks.trim = [](json::object& object) { return !KeyOf(object).name.starts_with("hidden"); };
    callbacks.on_put = [this](json::object&& object) {
      EXPECT_EQ(object.at("metadata").as_object().if_contains("managedFields"), nullptr);
      told_.push_back("put " + KeyOf(object).name);
    };
    callbacks.on_delete = [this](const ObjectKey& key) { told_.push_back("delete " + key.name); };
    callbacks.on_synced = [this] { told_.emplace_back("synced"); };
    callbacks.on_absent = [this] { told_.emplace_back("absent"); };
    callbacks.on_error = [this](const Status&) { ++errors_; };
    return callbacks;
  }
  Strings Told() { return std::exchange(told_, {}); }

  static std::string ListTarget(const Action& action) {
    const auto* list = std::get_if<ReflectorCore::List>(&action);
    return list == nullptr ? "no list" : list->request.target;
  }
  static std::string WatchTarget(const Action& action) {
    const auto* watch = std::get_if<ReflectorCore::Watch>(&action);
    return watch == nullptr ? "no watch" : watch->request.target;
  }
  static milliseconds Delay(const Action& action) {
    const auto* wait = std::get_if<ReflectorCore::Wait>(&action);
    return wait == nullptr ? milliseconds(-1) : wait->delay;
  }
  static std::string Watching(const std::string& version) {
    return kPath + "watch=true&allowWatchBookmarks=true&timeoutSeconds=450&resourceVersion=" + version;
  }
  /// Lists a and b at version 10, and watches.
  void Sync() {
    core_.Next();
    core_.OnPage(Page("10", {Object("a", "1"), Object("b", "2")}));
    Told();
  }

  inline static const std::string kPath = "/apis/apps/v1/namespaces/shop/deployments?labelSelector=a%3Db&";
  Strings told_;
  int errors_ = 0;
  ReflectorCore core_;
};

TEST_F(ReflectorCoreTest, PagesThenAWatchFromTheListsVersion) {
  EXPECT_EQ(ListTarget(core_.Next()), kPath + "limit=500");
  EXPECT_EQ(ListTarget(core_.OnPage(Page("10", {Object("a", "1")}, "t/1"))),
            kPath + "limit=500&continue=t%2F1");
  EXPECT_EQ(Told(), Strings{"put a"});
  EXPECT_FALSE(core_.synced());
  EXPECT_EQ(WatchTarget(core_.OnPage(Page("10", {Object("b", "2"), Object("hidden", "3")}))), Watching("10"));
  EXPECT_EQ(Told(), (Strings{"put b", "synced"}));
  EXPECT_TRUE(core_.synced());
  EXPECT_EQ(core_.size(), 2U);
}

TEST_F(ReflectorCoreTest, EventsAndBookmarksMoveTheVersionOn) {
  Sync();
  EXPECT_FALSE(core_.OnLine(Line("MODIFIED", Object("a", "11"))));
  EXPECT_FALSE(core_.OnLine(Line("ADDED", Object("c", "12"))));
  EXPECT_FALSE(core_.OnLine(Line("DELETED", Object("b", "13"))));
  EXPECT_FALSE(core_.OnLine(Line("DELETED", Object("never-seen", "14"))));
  EXPECT_FALSE(core_.OnLine(Line("BOOKMARK", Object("", "20"))));
  EXPECT_EQ(Told(), (Strings{"put a", "put c", "delete b"}));
  EXPECT_GE(Delay(core_.OnWatchEnd(OkStatus(), seconds(450))), milliseconds(0));
  EXPECT_EQ(WatchTarget(core_.Next()), Watching("20"));
  EXPECT_EQ(core_.counters().events, 4U);
  EXPECT_EQ(core_.counters().bookmarks, 1U);
  EXPECT_EQ(core_.counters().watches, 2U);
  EXPECT_EQ(core_.counters().errors, 0U);
  EXPECT_EQ(errors_, 0);
}

TEST_F(ReflectorCoreTest, ARelistTellsWhatChangedAndWhatVanishedOnly) {
  Sync();
  const auto relist = core_.OnLine(ErrorLine(410));
  ASSERT_TRUE(relist);
  EXPECT_EQ(ListTarget(*relist), kPath + "limit=500");
  core_.OnPage(Page("30", {Object("b", "2"), Object("c", "21")}));
  EXPECT_EQ(Told(), (Strings{"put c", "delete a", "synced"}));
  EXPECT_EQ(core_.counters().relists, 1U);
  EXPECT_EQ(core_.counters().expired, 1U);
}

TEST_F(ReflectorCoreTest, AnExpiredAnswerToTheWatchItselfRelistsToo) {
  Sync();
  EXPECT_EQ(ListTarget(core_.OnWatchEnd(Http(410), seconds(0))), kPath + "limit=500");
  // Again and again: with pauses.
  core_.OnPage(Page("11", {}));
  EXPECT_GT(Delay(core_.OnWatchEnd(Http(410), seconds(0))), milliseconds(0));
}

TEST_F(ReflectorCoreTest, AListThatExpiresInItsMiddleIsAskedForWhole) {
  core_.Next();
  core_.OnPage(Page("10", {Object("a", "1")}, "more"));
  EXPECT_EQ(ListTarget(core_.OnPage(Http(410))), kPath);
  // a has gone since: nobody may believe that it is still there.
  EXPECT_EQ(WatchTarget(core_.OnPage(Page("12", {Object("b", "2")}))), Watching("12"));
  EXPECT_EQ(Told(), (Strings{"put a", "put b", "delete a", "synced"}));
  EXPECT_EQ(core_.counters().relists, 0U);
  // The next one in pages again.
  EXPECT_EQ(ListTarget(core_.OnWatchEnd(Http(410), seconds(30))), kPath + "limit=500");
}

TEST_F(ReflectorCoreTest, AWholeListThatIsTooLongIsAskedForInPagesAgain) {
  core_.Next();
  core_.OnPage(Page("10", {Object("a", "1")}, "more"));
  EXPECT_EQ(ListTarget(core_.OnPage(Http(410))), kPath);
  core_.OnPage(Error(absl::StatusCode::kResourceExhausted, "the answer is too long"));
  EXPECT_EQ(ListTarget(core_.Next()), kPath + "limit=500");
}

TEST_F(ReflectorCoreTest, APageThatFailsIsAskedForAgain) {
  core_.Next();
  core_.OnPage(Page("10", {Object("a", "1")}, "more"));
  EXPECT_EQ(Delay(core_.OnPage(Http(500))), milliseconds(400));  // half of the bound
  EXPECT_EQ(ListTarget(core_.Next()), kPath + "limit=500&continue=more");
  EXPECT_EQ(Delay(core_.OnPage(Http(500))), milliseconds(800));
  EXPECT_EQ(Delay(core_.OnPage(Http(429, seconds(9)))), seconds(9));
  EXPECT_EQ(core_.counters().lists, 1U);
  EXPECT_EQ(errors_, 3);
}

TEST_F(ReflectorCoreTest, FailedWatchesBackOffAndAnEventEndsThat) {
  Sync();
  EXPECT_EQ(Delay(core_.OnWatchEnd(Http(503), seconds(0))), milliseconds(400));
  EXPECT_EQ(Delay(core_.OnWatchEnd(Http(503), seconds(0))), milliseconds(800));
  EXPECT_EQ(WatchTarget(core_.Next()), Watching("10"));
  core_.OnLine(Line("MODIFIED", Object("a", "11")));
  EXPECT_EQ(Delay(core_.OnWatchEnd(Http(503), seconds(0))), milliseconds(400));
  // One that lasted, and saw nothing, was no failure either.
  EXPECT_EQ(Delay(core_.OnWatchEnd(OkStatus(), seconds(450))), milliseconds(400));
}

TEST_F(ReflectorCoreTest, AResourceThatIsNotServedIsAbsent) {
  core_.Next();
  EXPECT_EQ(Delay(core_.OnPage(Http(404))), seconds(60));
  EXPECT_EQ(Told(), Strings{"absent"});
  EXPECT_TRUE(core_.absent());
  core_.Next();
  core_.OnPage(Http(404));
  EXPECT_EQ(Told(), Strings{});
  core_.Next();
  core_.OnPage(Page("10", {Object("a", "1")}));
  EXPECT_EQ(Told(), (Strings{"put a", "synced"}));
  EXPECT_FALSE(core_.absent());
  // Its CRD is removed: the watch ends, the next one is not found, and neither is the list.
  core_.OnWatchEnd(Http(404), seconds(0));
  EXPECT_EQ(ListTarget(core_.Next()), kPath + "limit=500");
  core_.OnPage(Http(404));
  EXPECT_EQ(Told(), (Strings{"delete a", "absent"}));
  EXPECT_FALSE(core_.synced());
  EXPECT_EQ(core_.counters().errors, 0U);
}

TEST_F(ReflectorCoreTest, WhatIsNotWantedAnyMoreIsDeleted) {
  core_.Next();
  core_.OnPage(Page("10", {}));
  Told();
  core_.OnLine(Line("ADDED", Object("hidden-1", "11")));
  EXPECT_EQ(Told(), Strings{});
  EXPECT_EQ(core_.size(), 0U);
}

TEST_F(ReflectorCoreTest, NonsenseEndsAWatchAndAListFails) {
  Sync();
  for (const std::string& line : {std::string("{"), std::string("[]"), std::string("{\"type\":\"ADDED\"}"),
                                  Line("RENAMED", Object("a", "1"))}) {
    const auto end = core_.OnLine(line);
    ASSERT_TRUE(end) << line;
    EXPECT_GT(Delay(*end), milliseconds(0)) << line;
  }
  EXPECT_EQ(WatchTarget(core_.Next()), Watching("10"));
  core_.OnWatchEnd(Http(410), seconds(30));
  for (const json::value& page :
       {json::value(7), json::value(json::object()), json::value{{"items", json::array()}},
        json::value{{"metadata", {{"resourceVersion", "1"}}}, {"items", 3}}}) {
    EXPECT_GE(Delay(core_.OnPage(page)), milliseconds(0)) << json::serialize(page);
  }
  EXPECT_EQ(Told(), Strings{});
}

TEST_F(ReflectorCoreTest, AnEmptyListMayBeNull) {
  core_.Next();
  EXPECT_EQ(
      WatchTarget(core_.OnPage(json::value{{"metadata", {{"resourceVersion", "5"}}}, {"items", nullptr}})),
      Watching("5"));
  EXPECT_EQ(Told(), Strings{"synced"});
}

TEST_F(ReflectorCoreTest, AfterStopNothingIsTold) {
  core_.Next();
  core_.Stop();
  core_.OnPage(Page("10", {Object("a", "1")}));
  core_.OnPage(Http(404));
  EXPECT_EQ(Told(), Strings{});
}

TEST(LineReaderTest, LinesInPieces) {
  const std::string text = "one\n\ntwo\nthree is longer\nrest";
  for (size_t piece = 1; piece <= text.size(); ++piece) {
    LineReader reader(20);
    Strings lines;
    for (size_t at = 0; at < text.size(); at += piece) {
      ASSERT_TRUE(reader.Feed(text.substr(at, piece), [&](std::string_view line) {
        lines.emplace_back(line);
        return true;
      }));
    }
    EXPECT_EQ(lines, (Strings{"one", "two", "three is longer"})) << piece;
  }
}

TEST(LineReaderTest, ALineHasABound) {
  const auto take = [](std::string_view) { return true; };
  LineReader whole(4);
  EXPECT_TRUE(whole.Feed("1234\n", take));
  EXPECT_FALSE(whole.Feed("12345\n", take));
  LineReader pieces(4);
  EXPECT_TRUE(pieces.Feed("123", take));
  EXPECT_FALSE(pieces.Feed("45", take));
}

TEST(LineReaderTest, TheReceiverMayEndIt) {
  LineReader reader(100);
  int lines = 0;
  EXPECT_TRUE(reader.Feed("a\nb\nc\n", [&](std::string_view) { return ++lines < 2; }));
  EXPECT_EQ(lines, 2);
}

}  // namespace
}  // namespace weir::kubernetes
