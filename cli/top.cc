// top: what every revision does, as a table that follows.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <sstream>

#include "cli/context.h"
#include "cli/json.h"
#include "cli/views.h"

namespace weir::cli {
namespace {

constexpr std::chrono::milliseconds kLeastInterval{100}, kMostInterval{60'000};
constexpr std::chrono::seconds kMostWindow{60};

struct TopFlags {
  std::string service;
  std::string format;
  std::string interval = "1s";
  std::string window = "10s";
  bool once = false;
};

class TopCommand {
 public:
  TopCommand(Context& context, Client& client, const TopFlags& flags)
      : context_(context), client_(client), flags_(flags) {
    request_.set_namespace_(context.all_namespaces ? "" : context.namespace_name);
    request_.set_service(flags.service);
  }

  Result<int> Run(std::chrono::milliseconds interval, std::chrono::milliseconds window) {
    request_.set_interval_ms(static_cast<uint32_t>(interval.count()));
    request_.set_window_seconds(static_cast<uint32_t>(window / std::chrono::seconds(1)));
    RETURN_IF_ERROR(flags_.once ? Once() : Follow());
    return kExitOk;
  }

 private:
  /// A rate needs two reports of an agent. Where there are agents and no rate yet, it is waited for.
  Status Once() {
    v1::FiguresResponse last;
    bool any = false;
    const Status status = client_.WatchFigures(
        request_, std::chrono::system_clock::now() + context_.client.call_timeout,
        [&](const v1::FiguresResponse& response) {
          last = response;
          any = true;
          return response.window_ms() == 0 && response.nodes_connected() > 0;
        },
        [] {});
    // Better figures without rates than none.
    if (!status.ok() && !(any && status.code() == absl::StatusCode::kDeadlineExceeded)) return status;
    Print(last);
    return OkStatus();
  }

  Status Follow() {
    return client_.WatchFigures(
        request_, std::nullopt,
        [&](const v1::FiguresResponse& response) {
          Show(response);
          return true;
        },
        [&] {
          context_.environment.err << context_.environment.program << ": lost the controller at "
                                   << client_.server() << "; waiting for it\n";
          lines_on_screen_ = 0;
        });
  }

  /// One answer by itself.
  void Print(const v1::FiguresResponse& response) {
    std::ostream& out = context_.environment.out;
    if (flags_.format == "json") {
      out << ToPrettyJson(ToJson(response));
    } else if (response.figures().empty()) {
      context_.environment.err << "No services found.\n";
    } else {
      PrintFigures(response, SIZE_MAX);
    }
  }

  /// One of many: in place on a terminal, one after the other elsewhere.
  void Show(const v1::FiguresResponse& response) {
    std::ostream& out = context_.environment.out;
    if (flags_.format == "json") {
      out << ToJsonLine(ToJson(response)) << '\n';
    } else if (context_.environment.out_is_terminal) {
      const int rows = context_.environment.terminal_size().rows;
      // Title, header, the "more" line and the prompt stay on the screen.
      const size_t max_rows = rows > 4 ? static_cast<size_t>(rows - 4) : SIZE_MAX;
      if (lines_on_screen_ > 0) out << "\x1b[" << lines_on_screen_ << "F\x1b[J";
      out << Paint(Title(response), Color::kDim, context_.use_color()) << '\n';
      lines_on_screen_ = 1 + PrintFigures(response, max_rows);
    } else {
      if (std::exchange(shown_, true)) out << '\n';
      PrintFigures(response, SIZE_MAX);
    }
    out.flush();
  }

  std::string Title(const v1::FiguresResponse& response) const {
    const std::string where = context_.all_namespaces ? "all namespaces" : context_.namespace_name;
    const std::string rates = response.window_ms() == 0
                                  ? "no rates before the second report"
                                  : fmt::format("rates over {} s", response.window_ms() / 1000);
    const std::string title = fmt::format("{} · {} agent{} · {}", where, response.nodes_connected(),
                                          response.nodes_connected() == 1 ? "" : "s", rates);
    return Printable(title);
  }

  size_t PrintFigures(const v1::FiguresResponse& response, size_t max_rows) {
    std::ostream& out = context_.environment.out;
    if (response.figures().empty()) {
      out << "No services found.\n";
      return 1;
    }
    std::vector<Row> rows;
    const v1::Figures* before = nullptr;
    for (const v1::Figures& figures : response.figures()) {
      rows.push_back(FiguresRow(figures, before, response, context_.all_namespaces));
      before = &figures;
    }
    const size_t hidden = rows.size() > max_rows ? rows.size() - max_rows : 0;
    rows.resize(rows.size() - hidden);
    Table table(FiguresHeader(context_.all_namespaces), context_.use_color());
    table.AlignRight(FiguresTextColumns(context_.all_namespaces));
    const int columns =
        context_.environment.out_is_terminal ? context_.environment.terminal_size().columns : 0;
    for (const Row& row : rows) table.Fit(row);
    if (columns > 0) table.Narrow(static_cast<size_t>(columns), FiguresDispensable(context_.all_namespaces));
    table.Print(out, rows);
    if (hidden > 0) out << "... and " << hidden << " more\n";
    return 1 + rows.size() + (hidden > 0 ? 1 : 0);
  }

  Context& context_;
  Client& client_;
  const TopFlags& flags_;
  v1::FiguresRequest request_;
  size_t lines_on_screen_ = 0;
  bool shown_ = false;
};

Result<std::chrono::milliseconds> Within(const std::string& flag, const std::string& text,
                                         std::chrono::milliseconds least, std::chrono::milliseconds most) {
  ASSIGN_OR_RETURN(const auto duration, DurationFlag(flag, text));
  if (duration < least || duration > most) {
    return InvalidArgument("{} {}: expected {} to {} ms", flag, text, least.count(), most.count());
  }
  return duration;
}

}  // namespace

void AddTopCommand(CLI::App& app, Context& context) {
  auto flags = std::make_shared<TopFlags>();
  CLI::App* top =
      app.add_subcommand("top", "Follow what every revision does: connections, requests, errors, latency");
  top->add_option("service", flags->service, "only this service")->type_name("SERVICE");
  top->add_flag("--once", flags->once, "show it once, as soon as there are rates, and end");
  top->add_option("--interval", flags->interval, "between two looks")
      ->type_name("DURATION")
      ->capture_default_str();
  top->add_option("--window", flags->window, "what rates and quantiles are taken over, 1s to 60s")
      ->type_name("DURATION")
      ->capture_default_str();
  top->add_option("-o,--output", flags->format, "how to show it; one line per look, with --once one document")
      ->check(CLI::IsMember({"json"}));
  top->footer(
      "WEIGHT is the share wanted and the share observed on all nodes since the present weights began. FAIL% "
      "is of "
      "connects, 5XX% of responses, P50 and P99 are from the first byte of a request to the first of its "
      "response; "
      "the last four are there for plaintext HTTP of services that ask for it.");
  top->callback([&context, flags] {
    context.action = [&context, flags]() -> Result<int> {
      ASSIGN_OR_RETURN(const auto interval,
                       Within("--interval", flags->interval, kLeastInterval, kMostInterval));
      ASSIGN_OR_RETURN(const auto window,
                       Within("--window", flags->window, std::chrono::seconds(1), kMostWindow));
      ASSIGN_OR_RETURN(const auto client, context.Connect());
      return TopCommand(context, *client, *flags).Run(interval, window);
    };
  });
}

}  // namespace weir::cli
