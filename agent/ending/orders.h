// The controller's orders to end open connections: which stand, when each begins, and what is answered.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "agent/datapath/ending.h"
#include "agent/stream/companion.h"
#include "weir/v1/agent.pb.h"

namespace weir::ending {

/// One thread (the io_context's).
class Orders final : public stream::Companion {
 public:
  /// Namespace, service and revision of the connections.
  using Name = std::tuple<std::string, std::string, std::string>;

  /// `context` outlives `ending`, and both outlive this.
  Orders(boost::asio::io_context& context, const datapath::Datapath& datapath, datapath::Ending& ending)
      : context_(context), datapath_(datapath), ending_(ending) {}

  /// "end_orders", and where the kernel can end connections "sock_destroy".
  std::vector<std::string> Abilities() const override;
  void Welcomed(const std::string& controller_id, std::function<void(v1::AgentMessage)> send) override;
  void Gone() override { send_ = nullptr; }
  void OnEndOrders(const v1::EndOrders& orders) override;
  void BeforeApply(const datapath::Change& change) override;
  void AfterApply() override { Begin(); }

  /// TCP connections and connected UDP sockets that were ended by this process.
  const std::map<Name, uint64_t>& ended() const { return ended_; }

 private:
  struct Standing {
    v1::EndOrder order;
    std::vector<datapath::EndTarget> targets;
    bool begun = false;    // in the kernel
    uint64_t counted = 0;  // of the kernel's count, what is in ended_ or was before this process
    std::optional<v1::Ended> answer;
  };

  void Begin();
  Status BeginOne(Standing& standing);
  void Swept(const datapath::Swept& swept);
  void Answer(Standing& standing, v1::Ended answer);
  void Send(const v1::Ended& answer) const;
  void Void(const std::string& id, std::string_view why);

  boost::asio::io_context& context_;
  const datapath::Datapath& datapath_;
  datapath::Ending& ending_;
  std::string controller_id_;  // whose orders these are
  std::function<void(v1::AgentMessage)> send_;
  std::map<std::string, Standing> standing_;  // by id
  std::map<Name, uint64_t> ended_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();  // passes that end late look whether we still are
};

}  // namespace weir::ending
