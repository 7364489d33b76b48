// status: what a rollout does now, and an exit code that says how it went.
#include <CLI/CLI.hpp>
#include <boost/json/serialize.hpp>

#include "cli/analysis.h"
#include "cli/context.h"
#include "cli/json.h"
#include "cli/views.h"
#include "common/role.h"

namespace weir::cli {
namespace {

struct StatusFlags {
  std::string name;
  std::string format;
  std::string timeout = "0";
  bool watch = false;
};

/// How a rollout stands for a pipeline. Healthy counts only once the revision wanted is the stable one.
ExitCode Outcome(const v1::Rollout& rollout) {
  if (rollout.aborted() || rollout.phase() == "Degraded") return kExitDegraded;
  if (rollout.phase() == "Healthy" && rollout.revision() == rollout.stable_revision()) return kExitOk;
  if (rollout.paused() || rollout.phase() == "Paused") return kExitPaused;
  return kExitProgressing;
}

std::string NodesText(const v1::Rollout& rollout) {
  std::string text = fmt::format("{}, held by {} of {} nodes", rollout.generation(), rollout.nodes_acked(),
                                 rollout.nodes_desired());
  for (const std::string& node : rollout.nodes_behind()) text += "; behind: " + node;
  for (const std::string& node : rollout.nodes_taken_out()) text += "; canary taken out by " + node;
  for (const std::string& refusal : rollout.nodes_refusing()) text += "; refused by " + refusal;
  return text;
}

void PrintSteps(const v1::Rollout& rollout, bool use_color, std::ostream& out) {
  out << "Steps:\n";
  for (int i = 0; i < rollout.steps_size(); ++i) {
    const auto index = static_cast<int>(rollout.current_step_index());
    const bool done = i < index || rollout.phase() == "Healthy";
    const bool current = i == index && !done;
    const std::string line = fmt::format("  {} {}",
                                         done      ? "✔"
                                         : current ? "▶"
                                                   : " ",
                                         Printable(rollout.steps(i).text()));
    out << Paint(line, done ? Color::kGreen : current ? Color::kBold : Color::kDim, use_color);
    if (current && rollout.pause_remaining_ms() >= 0 && rollout.phase() == "Paused") {
      out << "  (" << AgeText(rollout.pause_remaining_ms() + 999) << " left)";
    }
    out << '\n';
  }
}

template <typename Line>
void PrintBlueGreen(const v1::Rollout& rollout, const Line& line) {
  line("Active:", fmt::format("{} at {}", rollout.active_revision(), rollout.service()));
  if (!rollout.preview_service().empty()) {
    line("Preview:", fmt::format("{} at {}", rollout.preview_revision(), rollout.preview_service()));
  }
  if (!rollout.previous_revision().empty()) {
    line("Previous:", fmt::format("{}, kept for an instant way back: {} left", rollout.previous_revision(),
                                  AgeText(rollout.previous_remaining_ms() + 999)));
  }
}

void PrintDetails(const v1::Rollout& rollout, bool use_color, std::ostream& out) {
  const auto line = [&](std::string_view label, const std::string& text, Color color = Color::kNone) {
    if (!text.empty())
      out << fmt::format("{:<12}", label) << Paint(Printable(text), color, use_color) << '\n';
  };
  line("Rollout:", rollout.namespace_() + "/" + rollout.name(), Color::kBold);
  line("Phase:", rollout.phase() + (rollout.aborted() ? " (aborted)" : ""), PhaseColor(rollout.phase()));
  line("Message:", rollout.message());
  line("Service:", rollout.service());
  line("Revision:", fmt::format("{} wanted, {} stable", rollout.revision(), rollout.stable_revision()));
  if (rollout.strategy() == "blueGreen") {
    PrintBlueGreen(rollout, line);
  } else if (!rollout.canary_revision().empty()) {
    line("Canary:", fmt::format("{} at {}", rollout.canary_revision(),
                                WeightText(rollout.canary_weight(), rollout.max_weight())));
  }
  line("Generation:", NodesText(rollout),
       rollout.nodes_acked() < rollout.nodes_desired() || rollout.nodes_refusing_size() > 0 ? Color::kYellow
                                                                                            : Color::kNone);
  if (rollout.has_ended())
    line("Ended:", rollout.ended().text(),
         rollout.ended().left() > 0 || rollout.ended().troubles_size() > 0 ? Color::kYellow : Color::kNone);
  if (rollout.steps_size() > 0) PrintSteps(rollout, use_color, out);
  for (const v1::AnalysisSummary& run : rollout.analyses()) {
    line("Analysis:", fmt::format("{}, {}: {}", run.name(), run.phase(), run.message()),
         OutcomeColor(run.phase()));
  }
  if (rollout.variants_size() > 0) {
    Table table({"VARIANT", "ROLE", "WEIGHT", "READY", "CONNECTIONS"}, use_color);
    std::vector<Row> rows;
    for (const v1::VariantStatus& v : rollout.variants()) {
      rows.push_back({{v.revision()},
                      {std::string(RoleWord(v.role()))},
                      {std::to_string(v.weight())},
                      {fmt::format("{}/{}", v.endpoints_ready(), v.endpoints_total())},
                      {std::to_string(v.connections_observed())}});
    }
    table.Print(out, rows);
  }
}

class StatusCommand {
 public:
  StatusCommand(Context& context, Client& client, const StatusFlags& flags)
      : context_(context), client_(client), flags_(flags) {}

  Result<int> Run(std::chrono::milliseconds timeout) {
    v1::ObjectName name;
    name.set_namespace_(context_.namespace_name);
    name.set_name(flags_.name);
    ASSIGN_OR_RETURN(const v1::Rollout rollout, client_.Call(&v1::WeirService::Stub::GetRollout, name));
    if (flags_.watch) return Watch(timeout);
    Print(rollout);
    return Outcome(rollout);
  }

 private:
  Result<int> Watch(std::chrono::milliseconds timeout) {
    v1::ListRequest request;
    request.set_namespace_(context_.namespace_name);
    request.set_name(flags_.name);
    Client::Deadline deadline;
    if (timeout.count() > 0) deadline = std::chrono::system_clock::now() + timeout;
    Result<int> outcome = static_cast<int>(kExitProgressing);
    const Status status = client_.WatchRollouts(
        request, deadline,
        [&](const v1::RolloutEvent& event) {
          if (event.type() == v1::RolloutEvent::TYPE_DELETED) {
            outcome = NotFound("rollout {}/{} was deleted", context_.namespace_name, flags_.name);
            return false;
          }
          Show(event.rollout());
          outcome = static_cast<int>(Outcome(event.rollout()));
          return *outcome != kExitOk && *outcome != kExitDegraded;
        },
        [&] {
          context_.environment.err << context_.environment.program << ": lost the controller at "
                                   << client_.server() << "; waiting for it\n";
          lines_on_screen_ = 0;
        });
    if (status.code() == absl::StatusCode::kDeadlineExceeded) {
      context_.environment.err << context_.environment.program << ": rollout " << context_.namespace_name
                               << '/' << flags_.name << " did not settle within " << flags_.timeout << '\n';
      return kExitTimeout;
    }
    RETURN_IF_ERROR(status);
    return outcome;
  }

  void Print(const v1::Rollout& rollout) {
    std::ostream& out = context_.environment.out;
    if (flags_.format == "json") {
      out << ToPrettyJson(ToJson(rollout));
    } else if (flags_.format == "yaml") {
      out << ToYaml(ToJson(rollout));
    } else {
      PrintDetails(rollout, context_.use_color(), out);
    }
  }

  void Show(const v1::Rollout& rollout) {
    std::ostream& out = context_.environment.out;
    if (flags_.format == "json") {
      out << boost::json::serialize(ToJson(rollout)) << '\n';
    } else if (flags_.format == "yaml") {
      out << "---\n" << ToYaml(ToJson(rollout));
    } else if (context_.environment.out_is_terminal) {
      std::ostringstream text;
      PrintDetails(rollout, context_.use_color(), text);
      if (lines_on_screen_ > 0) out << "\x1b[" << lines_on_screen_ << "F\x1b[J";
      const std::string screen = text.str();
      lines_on_screen_ = std::count(screen.begin(), screen.end(), '\n');
      out << screen;
    } else {
      const std::string line =
          Summary(rollout) + (rollout.message().empty() ? "" : ": " + Printable(rollout.message()));
      if (line != last_line_) out << line << '\n';
      last_line_ = line;
    }
    out.flush();
  }

  Context& context_;
  Client& client_;
  const StatusFlags& flags_;
  std::ptrdiff_t lines_on_screen_ = 0;
  std::string last_line_;
};

}  // namespace

void AddStatusCommand(CLI::App& app, Context& context) {
  auto flags = std::make_shared<StatusFlags>();
  CLI::App* status = app.add_subcommand("status", "Show a rollout; the exit status tells how it stands");
  status->add_option("name", flags->name, "the rollout")->type_name("ROLLOUT")->required();
  auto* watch = status->add_flag("-w,--watch", flags->watch, "wait until it is Healthy or Degraded");
  status->add_option("--timeout", flags->timeout, "with --watch: wait no longer; 0: as long as it takes")
      ->type_name("DURATION")
      ->needs(watch)
      ->capture_default_str();
  status->add_option("-o,--output", flags->format, "how to show it")->check(CLI::IsMember({"json", "yaml"}));
  status->footer(
      "Exit status: 0 Healthy, 1 error, 2 Degraded or aborted, 3 not settled within --timeout, 4 Paused, "
      "5 Progressing.");
  status->callback([&context, flags] {
    context.action = [&context, flags]() -> Result<int> {
      if (context.all_namespaces)
        return InvalidArgument("status: --all-namespaces is not possible; name one with -n");
      ASSIGN_OR_RETURN(const auto timeout, DurationFlag("--timeout", flags->timeout));
      ASSIGN_OR_RETURN(const auto client, context.Connect());
      return StatusCommand(context, *client, *flags).Run(timeout);
    };
  });
}

}  // namespace weir::cli
