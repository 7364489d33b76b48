#include "common/metrics.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <system_error>
#include <utility>

namespace weir {
namespace {

/// A scrape's buffer is kept for the next one up to this size: beyond it, memory is worth more than the page
/// faults.
constexpr size_t kMostKeptBytes = 4 << 20;

/// Fields of /proc/self/stat after the command's ")" : index 0 is the state.
std::optional<std::vector<std::string>> StatFields() {
  std::ifstream file("/proc/self/stat");
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  const size_t end = line.rfind(')');
  if (end == std::string::npos) return std::nullopt;
  std::istringstream rest(line.substr(end + 1));
  std::vector<std::string> fields;
  for (std::string field; rest >> field;) fields.push_back(field);
  if (fields.size() < 22) return std::nullopt;
  return fields;
}

std::optional<double> BootTime() {
  std::ifstream file("/proc/stat");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("btime ")) return std::stod(line.substr(6));
  }
  return std::nullopt;
}

prometheus::MetricFamily Family(std::string name, std::string help, prometheus::MetricType type,
                                double value) {
  prometheus::ClientMetric metric;
  if (type == prometheus::MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
  return {std::move(name), std::move(help), type, {metric}};
}

}  // namespace

prometheus::MetricFamily GaugeFamily(std::string name, std::string help, double value) {
  return Family(std::move(name), std::move(help), prometheus::MetricType::Gauge, value);
}

prometheus::MetricFamily CounterFamily(std::string name, std::string help, double value) {
  return Family(std::move(name), std::move(help), prometheus::MetricType::Counter, value);
}

std::vector<prometheus::MetricFamily> ProcessMetrics::Collect() const {
  std::vector<prometheus::MetricFamily> families;
  if (const auto stat = StatFields()) {
    const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
    // proc(5), counted from the state: utime 11, stime 12, starttime 19, rss 21
    families.push_back(CounterFamily("process_cpu_seconds_total",
                                     "User and system CPU time spent in seconds.",
                                     (std::stod((*stat)[11]) + std::stod((*stat)[12])) / ticks));
    families.push_back(GaugeFamily("process_resident_memory_bytes", "Resident memory size in bytes.",
                                   std::stod((*stat)[21]) * static_cast<double>(::sysconf(_SC_PAGESIZE))));
    if (const auto boot = BootTime()) {
      families.push_back(GaugeFamily("process_start_time_seconds",
                                     "Start time of the process since unix epoch in seconds.",
                                     *boot + std::stod((*stat)[19]) / ticks));
    }
  }
  std::error_code error;
  double fds = 0;
  for (std::filesystem::directory_iterator it("/proc/self/fd", error), end; !error && it != end;
       it.increment(error)) {
    ++fds;
  }
  if (!error && fds > 0) {
    families.push_back(
        GaugeFamily("process_open_fds", "Number of open file descriptors.", fds - 1));  // our own look
  }
  return families;
}

std::string MetricsText(const std::vector<prometheus::Collectable*>& collectables,
                        const std::vector<MetricsSource*>& sources, ExpositionFormat format,
                        std::string buffer) {
  ExpositionWriter writer(format, std::move(buffer));
  for (const prometheus::Collectable* collectable : collectables) {
    for (const prometheus::MetricFamily& family : collectable->Collect()) writer.AddFamily(family);
  }
  for (MetricsSource* source : sources) source->Write(writer);
  return writer.Finish();
}

HttpHandler MetricsHandler(std::vector<prometheus::Collectable*> collectables,
                           std::vector<MetricsSource*> sources) {
  struct Kept {
    std::string buffer;
    size_t last_bytes = 0;
  };
  return [collectables = std::move(collectables), sources = std::move(sources),
          kept = std::make_shared<Kept>()](const HttpRequest& request) {
    const ExpositionFormat format = ChooseFormat(request.accept);
    HttpResponse response;
    response.content_type = ContentType(format);
    std::string buffer = std::exchange(kept->buffer, {});
    buffer.reserve(kept->last_bytes + kept->last_bytes / 16);
    response.body = MetricsText(collectables, sources, format, std::move(buffer));
    kept->last_bytes = response.body.size();
    response.sent = [kept](std::string body) {
      if (body.capacity() > kept->buffer.capacity() && body.capacity() <= kMostKeptBytes) {
        kept->buffer = std::move(body);
      }
    };
    return response;
  };
}

}  // namespace weir
