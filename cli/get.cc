// get rollouts|splits|nodes|services|analysis|webhooks, once or watched.
#include <CLI/CLI.hpp>
#include <boost/json/serialize.hpp>
#include <map>
#include <thread>

#include "cli/analysis.h"
#include "cli/context.h"
#include "cli/json.h"
#include "cli/views.h"

namespace weir::cli {
namespace {

using Stub = v1::WeirService::Stub;
using std::chrono::milliseconds;

constexpr milliseconds kPollInterval{1000};  // for kinds without a watch of their own

struct GetFlags {
  std::string kind;
  std::string name;
  std::string format;
  bool watch = false;
};

struct Item {
  std::string name;
  Row row;
  boost::json::value json;
};
/// By "namespace/name" and what else tells two apart, in the order they are shown.
using Items = std::map<std::string, Item>;

enum class Format { kTable, kWide, kJson, kYaml, kName };

Format FormatOf(const std::string& word) {
  if (word == "wide") return Format::kWide;
  if (word == "json") return Format::kJson;
  if (word == "yaml") return Format::kYaml;
  return word == "name" ? Format::kName : Format::kTable;
}

class Getter {
 public:
  Getter(Context& context, Client& client, const GetFlags& flags)
      : context_(context), client_(client), flags_(flags), format_(FormatOf(flags.format)) {
    view_.wide = format_ == Format::kWide;
    view_.with_namespace = context.all_namespaces;
    request_.set_namespace_(context.all_namespaces ? "" : context.namespace_name);
    request_.set_name(flags.name);
  }

  Result<int> Once() {
    ASSIGN_OR_RETURN(const Items items, Fetch());
    if (!flags_.name.empty() && items.empty()) return Missing();
    if (run_ && (format_ == Format::kTable || format_ == Format::kWide)) {
      PrintAnalysis(*run_, view_, context_.use_color(), context_.environment.out);
    } else {
      Print(items);
    }
    return kExitOk;
  }

  Result<int> Watch() {
    if (flags_.kind == "rollouts") {
      RETURN_IF_ERROR(WatchRollouts());
      return kExitOk;
    }
    while (true) {
      ASSIGN_OR_RETURN(const Items items, Fetch());
      Show(items);
      std::this_thread::sleep_for(kPollInterval);  // the API has no event for these kinds
    }
  }

 private:
  Status Missing() const {
    return NotFound("no {} {} in {}", flags_.kind, flags_.name,
                    context_.all_namespaces ? "any namespace" : "namespace " + context_.namespace_name);
  }

  std::vector<std::string> Header() const {
    if (flags_.kind == "rollouts") return RolloutHeader(view_);
    if (flags_.kind == "splits") return SplitHeader(view_);
    if (flags_.kind == "analysis") return AnalysisHeader(view_);
    if (flags_.kind == "webhooks") return WebhookHeader(view_);
    return flags_.kind == "nodes" ? NodeHeader(view_) : ServiceHeader(view_);
  }

  Item RolloutItem(const v1::Rollout& rollout) {
    return {rollout.name(), RolloutRow(rollout, view_), ToJson(rollout)};
  }

  Result<Items> Fetch() {
    view_.now_unix_ms = context_.environment.now_unix_ms();
    Items items;
    if (flags_.kind == "rollouts") {
      ASSIGN_OR_RETURN(const auto response, client_.Call(&Stub::ListRollouts, request_));
      for (const auto& r : response.rollouts()) items[r.namespace_() + "/" + r.name()] = RolloutItem(r);
    } else if (flags_.kind == "splits") {
      ASSIGN_OR_RETURN(const auto response, client_.Call(&Stub::ListSplits, request_));
      for (const auto& s : response.splits()) {
        items[s.namespace_() + "/" + s.service() + "/" + FrontendText(s.key())] = {
            s.service(), SplitRow(s, view_), ToJson(s)};
      }
    } else if (flags_.kind == "analysis") {
      ASSIGN_OR_RETURN(const auto response, client_.Call(&Stub::ListAnalysisRuns, request_));
      for (const auto& r : response.runs()) {
        // By begin within a rollout: names alone would have attempt 10 before 2.
        items[fmt::format("{}/{}/{:020}/{}", r.namespace_(), r.rollout(), r.started_unix_ms(), r.name())] = {
            r.name(), AnalysisRow(r, view_), ToJson(r)};
      }
      if (!flags_.name.empty() && response.runs_size() == 1) run_ = response.runs(0);
    } else if (flags_.kind == "nodes") {
      ASSIGN_OR_RETURN(const auto response, client_.Call(&Stub::ListNodes, v1::ListNodesRequest()));
      for (const auto& n : response.nodes()) {
        if (flags_.name.empty() || flags_.name == n.name())
          items[n.name()] = {n.name(), NodeRow(n, view_), ToJson(n)};
      }
    } else if (flags_.kind == "webhooks") {
      ASSIGN_OR_RETURN(const auto response, client_.Call(&Stub::ListWebhooks, request_));
      for (const auto& w : response.webhooks()) {
        items[w.namespace_() + "/" + w.name()] = {w.name(), WebhookRow(w, view_), ToJson(w)};
      }
    } else {
      ASSIGN_OR_RETURN(const auto response, client_.Call(&Stub::ListServices, request_));
      for (const auto& s : response.services()) {
        items[s.namespace_() + "/" + s.name()] = {s.name(), ServiceRow(s, view_), ToJson(s)};
      }
    }
    return items;
  }

  void Print(const Items& items) {
    std::ostream& out = context_.environment.out;
    switch (format_) {
      case Format::kTable:
      case Format::kWide:
        PrintTable(items);
        break;
      case Format::kJson:
        out << ToPrettyJson(Document(items));
        break;
      case Format::kYaml:
        out << ToYaml(Document(items));
        break;
      case Format::kName:
        for (const auto& [key, item] : items) out << item.name << '\n';
        break;
    }
  }

  /// The object itself where one was named, else {"items": [...]}.
  boost::json::value Document(const Items& items) const {
    if (!flags_.name.empty() && items.size() == 1) return items.begin()->second.json;
    boost::json::array array;
    for (const auto& [key, item] : items) array.push_back(item.json);
    return boost::json::object{{"items", std::move(array)}};
  }

  size_t PrintTable(const Items& items, size_t max_rows = SIZE_MAX) {
    std::ostream& out = context_.environment.out;
    if (items.empty()) {
      // Not on stdout: a script that counts lines counts none.
      (flags_.watch ? out : context_.environment.err) << "No " << flags_.kind << " found.\n";
      return 1;
    }
    std::vector<Row> rows;
    for (const auto& [key, item] : items) rows.push_back(item.row);
    const size_t hidden = rows.size() > max_rows ? rows.size() - max_rows : 0;
    rows.resize(rows.size() - hidden);
    Table(Header(), context_.use_color()).Print(out, rows);
    if (hidden > 0) out << "... and " << hidden << " more\n";
    return 1 + rows.size() + (hidden > 0 ? 1 : 0);
  }

  Status WatchRollouts() {
    if (!flags_.name.empty()) {
      v1::ObjectName name;
      name.set_namespace_(context_.namespace_name);
      name.set_name(flags_.name);
      RETURN_IF_ERROR(client_.Call(&Stub::GetRollout, name).status());
    }
    ASSIGN_OR_RETURN(Items items, Fetch());
    Show(items);
    return client_.WatchRollouts(
        request_, std::nullopt,
        [&](const v1::RolloutEvent& event) {
          view_.now_unix_ms = context_.environment.now_unix_ms();
          const v1::Rollout& rollout = event.rollout();
          const std::string key = rollout.namespace_() + "/" + rollout.name();
          if (event.type() == v1::RolloutEvent::TYPE_DELETED) {
            items.erase(key);
          } else {
            items[key] = RolloutItem(rollout);
          }
          Show(items);
          return true;
        },
        [&] {
          context_.environment.err << context_.environment.program << ": lost the controller at "
                                   << client_.server() << "; waiting for it\n";
          lines_on_screen_ = 0;
        });
  }

  /// Brings what the user sees to `items`: the whole table in place on a terminal, a line per change
  /// elsewhere.
  void Show(const Items& items) {
    std::ostream& out = context_.environment.out;
    const bool table = format_ == Format::kTable || format_ == Format::kWide;
    if (table && context_.environment.out_is_terminal) {
      const int screen_rows = context_.environment.terminal_size().rows;
      // Header, the "more" line and the prompt stay on the screen.
      const size_t max_rows = screen_rows > 3 ? static_cast<size_t>(screen_rows - 3) : SIZE_MAX;
      if (lines_on_screen_ > 0) out << "\x1b[" << lines_on_screen_ << "F\x1b[J";
      lines_on_screen_ = PrintTable(items, max_rows);
    } else {
      ShowChanges(items, table);
    }
    shown_ = items;
    out.flush();
  }

  void ShowChanges(const Items& items, bool table) {
    if (table && !lines_) {
      lines_.emplace(Header(), false);
      for (const auto& [key, item] : items) lines_->Fit(item.row);
      lines_->PrintHeader(context_.environment.out);
    }
    for (const auto& [key, item] : items) {
      const auto before = shown_.find(key);
      if (before == shown_.end()) {
        ShowChange("current", item);
      } else if (before->second.json != item.json) {
        ShowChange("changed", item);
      }
    }
    for (const auto& [key, item] : shown_) {
      if (!items.contains(key)) ShowChange("deleted", item);
    }
  }

  void ShowChange(std::string_view type, const Item& item) {
    std::ostream& out = context_.environment.out;
    switch (format_) {
      case Format::kTable:
      case Format::kWide: {
        Row row = item.row;
        if (type == "deleted") row.back() = {"deleted"};
        lines_->Fit(row);
        lines_->PrintRow(out, row);
        break;
      }
      case Format::kJson:
        out << boost::json::serialize(boost::json::object{{"type", type}, {"object", item.json}}) << '\n';
        break;
      case Format::kYaml:
        out << "---\n" << ToYaml(boost::json::object{{"type", type}, {"object", item.json}});
        break;
      case Format::kName:
        out << item.name << '\n';
        break;
    }
  }

  Context& context_;
  Client& client_;
  const GetFlags& flags_;
  Format format_;
  ViewOptions view_;
  v1::ListRequest request_;
  std::optional<v1::AnalysisRun> run_;  // the only one of a name: shown in full
  Items shown_;
  size_t lines_on_screen_ = 0;
  std::optional<Table> lines_;
};

/// Spellings people are used to, to the one the code uses.
const std::map<std::string, std::string>& Kinds() {
  static const auto& kinds = *new std::map<std::string, std::string>{
      {"rollouts", "rollouts"},    {"rollout", "rollouts"},  {"ro", "rollouts"},
      {"splits", "splits"},        {"split", "splits"},      {"nodes", "nodes"},
      {"node", "nodes"},           {"no", "nodes"},          {"services", "services"},
      {"service", "services"},     {"svc", "services"},      {"webhooks", "webhooks"},
      {"webhook", "webhooks"},     {"analysis", "analysis"}, {"analysisruns", "analysis"},
      {"analysisrun", "analysis"}, {"ar", "analysis"}};
  return kinds;
}

}  // namespace

void AddGetCommand(CLI::App& app, Context& context) {
  auto flags = std::make_shared<GetFlags>();
  CLI::App* get = app.add_subcommand(
      "get", "Show objects: rollouts, splits, nodes, services, runs of analyses or webhooks");
  get->add_option("kind", flags->kind, "what to show")
      ->type_name("KIND:{rollouts,splits,nodes,services,analysis,webhooks}")
      ->required()
      ->check([](const std::string& word) {
        return Kinds().contains(word) ? ""
                                      : word +
                                            ": no such kind; expected rollouts, splits, nodes, services, "
                                            "analysis or webhooks";
      });
  get->add_option("name", flags->name, "only the one of this name; runs of analyses also by their rollout's")
      ->type_name("NAME");
  get->add_option("-o,--output", flags->format, "how to show it")
      ->check(CLI::IsMember({"wide", "json", "yaml", "name"}));
  get->add_flag("-w,--watch", flags->watch, "go on and show each change");
  get->callback([&context, flags] {
    context.action = [&context, flags]() -> Result<int> {
      flags->kind = Kinds().at(flags->kind);
      ASSIGN_OR_RETURN(const auto client, context.Connect());
      Getter getter(context, *client, *flags);
      return flags->watch ? getter.Watch() : getter.Once();
    };
  });
}

}  // namespace weir::cli
