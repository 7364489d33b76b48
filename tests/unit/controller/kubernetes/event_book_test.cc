#include "controller/kubernetes/client/event_book.h"

#include <gtest/gtest.h>

namespace weir::kubernetes {
namespace {

using std::chrono::seconds;

class EventBookTest : public ::testing::Test {
 protected:
  EventBook::Action Record(const std::string& note = "node-1 does not ack",
                           const std::string& name = "checkout") {
    const EventSubject about{"weir.dev/v1alpha1", "Rollout", {"shop", name}, "u1"};
    return book_.Record(about, {EventType::kWarning, "Held", "SetWeight", note}, clock_.Now(),
                        clock_.WallNow());
  }
  ObjectKey RecordFirst(const std::string& note = "node-1 does not ack") {
    const EventBook::Action action = Record(note);
    const auto* create = std::get_if<EventBook::Create>(&action);
    EXPECT_NE(create, nullptr);
    if (create == nullptr) return {};
    book_.Stored(create->key);
    return create->key;
  }
  static int64_t Count(const EventBook::Patch& patch) {
    return Find(patch.patch, {"series", "count"})->as_int64();
  }

  FakeClock clock_;
  EventBook::Options options_;
  EventBook book_{"weir-controller-0", options_};
};

TEST_F(EventBookTest, TheFirstIsAnEventOfItsOwn) {
  const EventBook::Action action = Record();
  const auto* create = std::get_if<EventBook::Create>(&action);
  ASSERT_NE(create, nullptr);
  EXPECT_EQ(create->key.ns, "shop");
  EXPECT_TRUE(create->key.name.starts_with("checkout."));
  const boost::json::value event = create->event;
  EXPECT_EQ(Text(event, {"eventTime"}), "2023-11-14T22:13:20.000000Z");
  EXPECT_EQ(Text(event, {"reportingController"}), "weir.dev/controller");
  EXPECT_EQ(Text(event, {"reportingInstance"}), "weir-controller-0");
  EXPECT_EQ(Text(event, {"regarding", "kind"}), "Rollout");
  EXPECT_EQ(Text(event, {"regarding", "uid"}), "u1");
  EXPECT_EQ(Text(event, {"type"}), "Warning");
  EXPECT_EQ(Find(event, {"series"}), nullptr);
}

TEST_F(EventBookTest, TheSecondBecomesASeriesAtOnceFurtherOnesOnceAMinute) {
  const ObjectKey key = RecordFirst();
  const EventBook::Action second = Record();
  const auto* patch = std::get_if<EventBook::Patch>(&second);
  ASSERT_NE(patch, nullptr);
  EXPECT_EQ(patch->key, key);
  EXPECT_EQ(Count(*patch), 2);
  for (int i = 0; i < 10; ++i) {
    clock_.Advance(seconds(5));
    EXPECT_TRUE(std::holds_alternative<EventBook::Nothing>(Record())) << i;
  }
  EXPECT_TRUE(book_.Flush(clock_.Now()).empty());
  clock_.Advance(seconds(10));
  const auto patches = book_.Flush(clock_.Now());
  ASSERT_EQ(patches.size(), 1U);
  EXPECT_EQ(Count(patches[0]), 12);
  EXPECT_EQ(Text(patches[0].patch, {"series", "lastObservedTime"}), "2023-11-14T22:14:10.000000Z");
  EXPECT_TRUE(book_.Flush(clock_.Now()).empty());
}

TEST_F(EventBookTest, ASeriesIsNotWrittenBeforeItsEventIsThere) {
  const EventBook::Action first = Record();
  EXPECT_TRUE(std::holds_alternative<EventBook::Nothing>(Record()));
  EXPECT_TRUE(book_.Flush(clock_.Now()).empty());
  book_.Stored(std::get<EventBook::Create>(first).key);
  ASSERT_EQ(book_.Flush(clock_.Now()).size(), 1U);
}

TEST_F(EventBookTest, AfterAPauseItBeginsAnewAndNoCountIsLost) {
  const ObjectKey first = RecordFirst();
  Record();
  clock_.Advance(seconds(1));
  Record();
  clock_.Advance(seconds(360));
  // The last count is written before the series is forgotten.
  const auto patches = book_.Flush(clock_.Now());
  ASSERT_EQ(patches.size(), 1U);
  EXPECT_EQ(Count(patches[0]), 3);
  EXPECT_NE(RecordFirst(), first);
}

TEST_F(EventBookTest, AnotherNoteIsAnotherEventAndAnEventThatIsGoneIsMadeAnew) {
  const ObjectKey first = RecordFirst("a");
  EXPECT_NE(RecordFirst("b"), first);
  book_.Gone(first);
  EXPECT_NE(RecordFirst("a"), first);
}

TEST_F(EventBookTest, NobodyFloodsTheServer) {
  int made = 0;
  for (int i = 0; i < 100; ++i)
    made += std::holds_alternative<EventBook::Create>(Record(std::to_string(i))) ? 1 : 0;
  EXPECT_EQ(made, 25);
  // Others are not held up by it.
  EXPECT_TRUE(std::holds_alternative<EventBook::Create>(Record("a", "cart")));
  clock_.Advance(seconds(30));
  EXPECT_TRUE(std::holds_alternative<EventBook::Create>(Record("later")));
  EXPECT_TRUE(std::holds_alternative<EventBook::Limited>(Record("later still")));
}

TEST_F(EventBookTest, NotesAreCutBetweenCharacters) {
  std::string note(1023, 'a');
  note += "\u00e9\u00e9";
  const EventBook::Action action = Record(note, std::string(253, 'n'));
  const auto& create = std::get<EventBook::Create>(action);
  EXPECT_EQ(create.event.at("note").as_string(), std::string(1023, 'a'));
  EXPECT_LE(create.key.name.size(), 253U);
}

}  // namespace
}  // namespace weir::kubernetes
