// From pods' UIDs to cgroups: in directories that look like a kubelet's. inotify works there as in cgroup2.
#include "agent/consumers/consumers.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "agent/datapath/fake_datapath.h"

namespace weir::consumers {
namespace {

namespace fs = std::filesystem;

const std::string kA = "11111111-aaaa-4bbb-8ccc-222222222222", kB = "33333333-aaaa-4bbb-8ccc-444444444444";
const std::string kStatic = "0123456789abcdef0123456789abcdef";

TEST(PodUid, IsReadFromEitherDriversNames) {
  EXPECT_EQ(PodUidOf("pod" + kA), kA);
  EXPECT_EQ(PodUidOf("kubepods-burstable-pod11111111_aaaa_4bbb_8ccc_222222222222.slice"), kA);
  EXPECT_EQ(PodUidOf("kubelet-kubepods-pod11111111_aaaa_4bbb_8ccc_222222222222.slice"), kA) << "kind";
  EXPECT_EQ(PodUidOf("pod" + kStatic), kStatic);
  for (const char* const other : {"kubepods", "kubepods.slice", "kubepods-burstable.slice", "pod", "podman",
                                  "tripod11111111-aaaa-4bbb-8ccc-222222222222", "system.slice", ""})
    EXPECT_EQ(PodUidOf(other), std::nullopt) << other;
  EXPECT_TRUE(HoldsPods("kubepods"));
  EXPECT_TRUE(HoldsPods("kubelet-kubepods-besteffort.slice"));
  EXPECT_FALSE(HoldsPods("system.slice"));
  EXPECT_FALSE(HoldsPods("kubepods-pod11111111_aaaa_4bbb_8ccc_222222222222.slice"));
}

class ConsumersTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string path = testing::TempDir() + "weir-pods-XXXXXX";
    ASSERT_NE(mkdtemp(path.data()), nullptr);
    root_ = path;
    consumers_.emplace(context_, datapath_, root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  static std::string SliceOf(std::string uid) {
    std::replace(uid.begin(), uid.end(), '-', '_');
    return "kubepods-burstable-pod" + uid + ".slice";
  }
  /// The ID of the directory, which is made.
  uint64_t Make(const std::string& path) {
    fs::create_directories(root_ + "/" + path);
    struct stat about {};
    EXPECT_EQ(stat((root_ + "/" + path).c_str(), &about), 0);
    return about.st_ino;
  }
  void Say(const std::map<std::string, uint32_t>& pods) {
    v1::Consumers message;
    for (const auto& [uid, consumers] : pods) {
      v1::ConsumerPod& pod = *message.add_pods();
      pod.set_uid(uid);
      pod.set_consumers(consumers);
    }
    consumers_->OnConsumers(message);
  }
  /// Runs until the kernel holds that, ten seconds at most.
  testing::AssertionResult Becomes(const std::map<uint64_t, uint32_t>& pods) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (datapath_.pods != pods && std::chrono::steady_clock::now() < end)
      context_.run_one_for(std::chrono::milliseconds(100));
    if (datapath_.pods == pods) return testing::AssertionSuccess();
    return testing::AssertionFailure() << datapath_.pods.size() << " pods";
  }

  const std::string kBurstable = "kubepods.slice/kubepods-burstable.slice/";
  std::string root_;
  boost::asio::io_context context_;
  datapath::FakeDatapath datapath_;
  std::optional<Consumers> consumers_;
};

TEST_F(ConsumersTest, PodsThatRunAreKnownAtOnce) {
  const uint64_t a = Make(kBurstable + SliceOf(kA));
  const uint64_t b = Make("kubepods/pod" + kB);
  Make("system.slice/some.service");
  Say({{kA, 7}, {kB, 8}});
  EXPECT_EQ(datapath_.pods, (std::map<uint64_t, uint32_t>{{a, 7}, {b, 8}}))
      << "before the next update is applied";
  EXPECT_EQ(consumers_->known(), 2U);
  EXPECT_EQ(consumers_->awaited(), 0U);
  Say({{kB, 9}});
  EXPECT_EQ(datapath_.pods, (std::map<uint64_t, uint32_t>{{b, 9}}));
  Say({});
  EXPECT_TRUE(datapath_.pods.empty());
}

TEST_F(ConsumersTest, APodIsKnownOnceItsCgroupIsMade) {
  Make(kBurstable);
  Say({{kA, 7}});
  EXPECT_TRUE(datapath_.pods.empty());
  EXPECT_EQ(consumers_->awaited(), 1U);
  const uint64_t a = Make(kBurstable + SliceOf(kA));
  EXPECT_TRUE(Becomes({{a, 7}}));
  EXPECT_EQ(consumers_->awaited(), 0U);
  fs::remove(root_ + "/" + kBurstable + SliceOf(kA));
  EXPECT_TRUE(Becomes({}));
}

TEST_F(ConsumersTest, AKubeletsFirstPodBringsItsDirectoriesWithIt) {
  Say({{kA, 7}});
  const uint64_t a = Make(kBurstable + SliceOf(kA));
  EXPECT_TRUE(Becomes({{a, 7}}));
}

TEST_F(ConsumersTest, DirectoriesThatAppearWhereNobodyLooksAreFoundLater) {
  Make("docker/0123");
  Say({{kA, 7}});
  const uint64_t a = Make("docker/0123/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" +
                          std::string("11111111_aaaa_4bbb_8ccc_222222222222.slice"));
  EXPECT_TRUE(Becomes({{a, 7}}));
}

TEST_F(ConsumersTest, WhatComesAndGoesElsewhereDoesNotPutTheSearchOff) {
  Make(kBurstable);
  Make("docker/0123");
  Say({{kA, 7}});
  for (int i = 10; i < 20; ++i) {
    Make(kBurstable + SliceOf(std::to_string(i) + kB.substr(2)));
    context_.run_one_for(std::chrono::seconds(1));  // what inotify says of it
  }
  const uint64_t a = Make("docker/0123/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" +
                          std::string("11111111_aaaa_4bbb_8ccc_222222222222.slice"));
  EXPECT_TRUE(Becomes({{a, 7}}));
}

TEST_F(ConsumersTest, WhatAnAgentBeforePutThereStaysUntilTheControllerSpeaks) {
  datapath_.pods = {{42, 7}};
  Make(kBurstable + SliceOf(kA));
  context_.run_for(std::chrono::milliseconds(50));
  EXPECT_EQ(datapath_.pods, (std::map<uint64_t, uint32_t>{{42, 7}}));
  Say({});
  EXPECT_TRUE(datapath_.pods.empty());
}

TEST_F(ConsumersTest, AFullMapIsTriedAgainAndCounted) {
  const uint64_t a = Make(kBurstable + SliceOf(kA));
  datapath_.pods_error = Error(absl::StatusCode::kResourceExhausted, "full");
  Say({{kA, 7}});
  EXPECT_EQ(consumers_->errors(), 1U);
  datapath_.pods_error = OkStatus();
  EXPECT_TRUE(Becomes({{a, 7}}));
}

}  // namespace
}  // namespace weir::consumers
