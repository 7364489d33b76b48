// What the store does where the API server does not answer as it should.
#include "controller/kubernetes/state/cluster_store.h"

#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <thread>

#include "tests/unit/controller/kubernetes/played_server.h"

namespace weir::kubernetes {
namespace {

namespace http = boost::beast::http;
namespace json = boost::json;
using Session = PlayedServer::Session;
using Asked = PlayedServer::Request;

/// A ConfigMap behind an API, whose answer to a write may be lost.
class ClusterStoreTest : public ::testing::Test {
 protected:
  ClusterStoreTest() : server_([this](Session& session, const Asked& asked) { Serve(session, asked); }) {
    Access access;
    access.server = {.https = false, .host = "127.0.0.1", .port = server_.port(), .target = "/"};
    access.token = "t";
    client_ = *Client::Create(network_, access);
    thread_ = std::thread([this] { network_.run(); });
    ClusterStore::Options options;
    options.ns = "weir-system";
    options.timeout = std::chrono::milliseconds(300);
    auto store = ClusterStore::Open(
        *client_, [this] { return leads_.load(); }, options);
    EXPECT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  ~ClusterStoreTest() override {
    boost::asio::post(network_, [this] { client_->Stop(); });
    work_.reset();
    thread_.join();
  }

  void Serve(Session& session, const Asked& asked) {
    const auto object = [this] {
      return json::serialize(
          json::object{{"metadata", {{"name", "weir-state"}, {"resourceVersion", std::to_string(version_)}}},
                       {"data", data_}});
    };
    if (asked.method() == http::verb::get) return session.Answer(200, object());
    ++writes_;
    const json::object patch = json::parse(asked.body()).as_object();
    const std::string base(Text(patch, {"metadata", "resourceVersion"}));
    if (base != std::to_string(version_))
      return session.Answer(409, R"({"kind":"Status","reason":"Conflict"})");
    for (const auto& [name, value] : patch.at("data").as_object()) data_[name] = value;
    ++version_;
    if (loses_answers_) return session.BeSilent();
    session.Answer(200, object());
  }
  static store::Batch Generation(uint64_t number) {
    store::Batch batch;
    batch.generation = store::GenerationMark{number, "digest"};
    return batch;
  }

  std::atomic<bool> leads_{true}, loses_answers_{false};
  std::atomic<int> version_{1}, writes_{0};
  json::object data_{{"controllerId", "a"}};  // one request at a time
  PlayedServer server_;
  boost::asio::io_context network_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{network_.get_executor()};
  std::unique_ptr<Client> client_;
  std::thread thread_;
  std::unique_ptr<ClusterStore> store_;
};

TEST_F(ClusterStoreTest, AWriteWhoseAnswerWasLostIsWrittenOver) {
  ASSERT_TRUE(store_->Commit(Generation(1)).ok());
  loses_answers_ = true;
  const Status lost = store_->Commit(Generation(2));
  EXPECT_EQ(lost.code(), absl::StatusCode::kAborted) << lost;
  EXPECT_NE(Message(lost).find("the API server does not keep it"), std::string::npos) << lost;
  loses_answers_ = false;
  const Status again = store_->Commit(Generation(2));
  EXPECT_TRUE(again.ok()) << again;
  EXPECT_EQ(data_.at("generation"), "2");
}

TEST_F(ClusterStoreTest, WhoLeadsNoMoreWritesNothing) {
  leads_ = false;
  EXPECT_EQ(store_->Commit(Generation(1)).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(writes_, 0);
}

}  // namespace
}  // namespace weir::kubernetes
