// deploy/prometheus/metrics.txt, and the same said of an exposition.
#pragma once

#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

namespace weir {

/// Name -> "type label,label" with the labels in order, of what `program` exports.
inline std::map<std::string, std::string> ListedMetrics(const std::string& path, const std::string& program) {
  std::ifstream file(path);
  std::map<std::string, std::string> metrics;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name, type, of, labels;
    if (!(words >> name >> type >> of) || name[0] == '#' || of != program) continue;
    words >> labels;
    std::set<std::string> sorted;
    std::istringstream list(labels);
    for (std::string label; std::getline(list, label, ',');) sorted.insert(label);
    std::string& text = metrics[name] = type + " ";
    for (const std::string& label : sorted) text += (text.ends_with(' ') ? "" : ",") + label;
  }
  return metrics;
}

/// The same of Prometheus' text format, with all labels that any sample of a family has but a histogram's
/// `le`; without process_*.
inline std::map<std::string, std::string> ExposedMetrics(const std::string& exposition) {
  std::istringstream lines(exposition);
  std::map<std::string, std::pair<std::string, std::set<std::string>>> families;
  std::string family;  // samples follow their family's TYPE
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string mark, kind, type;
    if (line.starts_with("# TYPE ")) {
      words >> mark >> kind >> family >> type;
      families[family].first = type;
    }
    const size_t open = line.find('{');
    if (line.starts_with('#') || open == std::string::npos || family.empty()) continue;
    for (size_t at = open + 1; line[at] != '}';) {
      const size_t equals = line.find("=\"", at);
      const std::string label = line.substr(at, equals - at);
      if (label != "le") families[family].second.insert(label);
      at = equals + 2;
      while (line[at] != '"') at += line[at] == '\\' ? 2 : 1;
      ++at;
      if (line[at] == ',') ++at;
    }
  }
  std::map<std::string, std::string> metrics;
  for (const auto& [name, seen] : families) {
    if (name.starts_with("process_")) continue;
    std::string& text = metrics[name] = seen.first + " ";
    for (const std::string& label : seen.second) text += (text.ends_with(' ') ? "" : ",") + label;
  }
  return metrics;
}

}  // namespace weir
