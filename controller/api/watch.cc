#include "controller/api/watch.h"

#include <boost/asio/post.hpp>
#include <map>
#include <set>

namespace weir::api {

// Deleted on the io_context after OnDone, behind every handler it posted.
class WatchReactor final : public grpc::ServerWriteReactor<v1::RolloutEvent> {
 public:
  WatchReactor(WatchHub& hub, const v1::ListRequest& request) : hub_(hub), request_(request) {
    boost::asio::post(hub_.context_, [this] { Begin(); });
  }

  void OnWriteDone(bool ok) override {
    boost::asio::post(hub_.context_, [this, ok] {
      writing_ = false;
      if (!ok) Close(grpc::Status::OK);
      Next();
    });
  }
  void OnCancel() override {
    boost::asio::post(hub_.context_, [this] { Close(grpc::Status::CANCELLED); });
  }
  void OnDone() override {
    boost::asio::post(hub_.context_, [this] {
      hub_.watchers_.erase(this);
      delete this;
    });
  }

  void Changed(const RolloutName& name) {
    if (!Matches(name)) return;
    dirty_.insert(name);
    Next();
  }

  void Close(const grpc::Status& status) {
    if (closing_) return;
    closing_ = true;
    status_ = status;
    Next();
  }

 private:
  bool Matches(const RolloutName& name) const {
    return (request_.namespace_().empty() || request_.namespace_() == name.first) &&
           (request_.name().empty() || request_.name() == name.second);
  }

  void Begin() {
    hub_.watchers_.insert(this);
    if (hub_.shut_down_) return Close(hub_.shutdown_status_);
    auto present = hub_.backend_.ListRollouts(request_);
    if (!present.ok()) {
      return Close({static_cast<grpc::StatusCode>(present.status().code()), Message(present.status())});
    }
    for (const auto& rollout : present->rollouts()) {
      RolloutName name{rollout.namespace_(), rollout.name()};
      initial_.insert(name);
      dirty_.insert(name);
    }
    // So that the client knows that it is connected even when there is nothing to tell.
    StartSendInitialMetadata();
    Next();
  }

  // Writes what is newest of the next name, or finishes.
  void Next() {
    if (writing_ || finished_) return;
    if (closing_) {
      finished_ = true;
      return Finish(status_);
    }
    while (!dirty_.empty()) {
      RolloutName name = *dirty_.begin();
      dirty_.erase(dirty_.begin());
      if (Fill(name)) {
        writing_ = true;
        return StartWrite(&event_);
      }
    }
  }

  // False when the watcher knows this state already.
  bool Fill(const RolloutName& name) {
    v1::ObjectName key;
    key.set_namespace_(name.first);
    key.set_name(name.second);
    auto rollout = hub_.backend_.GetRollout(key);
    event_.Clear();
    if (!rollout.ok()) {
      if (told_.erase(name) == 0) return false;
      event_.set_type(v1::RolloutEvent::TYPE_DELETED);
      event_.mutable_rollout()->set_namespace_(name.first);
      event_.mutable_rollout()->set_name(name.second);
      return true;
    }
    std::string bytes = rollout->SerializeAsString();
    std::string& told = told_[name];
    if (told == bytes) return false;
    told = std::move(bytes);
    event_.set_type(initial_.erase(name) > 0 ? v1::RolloutEvent::TYPE_CURRENT
                                             : v1::RolloutEvent::TYPE_CHANGED);
    *event_.mutable_rollout() = *std::move(rollout);
    return true;
  }

  WatchHub& hub_;
  const v1::ListRequest request_;
  std::set<RolloutName> initial_, dirty_;
  std::map<RolloutName, std::string> told_;
  v1::RolloutEvent event_;
  grpc::Status status_;
  bool writing_ = false, closing_ = false, finished_ = false;
};

void WatchHub::Changed(const RolloutName& name) {
  for (WatchReactor* watcher : watchers_) watcher->Changed(name);
}

void WatchHub::Shutdown(const grpc::Status& status) {
  shut_down_ = true;
  shutdown_status_ = status;
  for (WatchReactor* watcher : watchers_) watcher->Close(status);
}

grpc::ServerWriteReactor<v1::RolloutEvent>* WatchHub::NewWatch(const v1::ListRequest& request) {
  return new WatchReactor(*this, request);
}

}  // namespace weir::api
