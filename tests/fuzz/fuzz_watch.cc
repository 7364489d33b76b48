// Any bytes in place of a list and a watch, cut anywhere: what is told stays consistent, and the next request
// is a sensible one. The first line is a page, the rest is the watch.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>

#include "controller/kubernetes/client/line_reader.h"
#include "controller/kubernetes/client/reflector_core.h"

namespace weir::kubernetes {
namespace {

constexpr size_t kMaxLine = 4096;

void Check(bool holds, const char* rule) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", rule);
  std::abort();
}

/// What its owner knows of the objects.
class Owner {
 public:
  ReflectorCallbacks Callbacks() {
    ReflectorCallbacks callbacks;
    callbacks.trim = [](boost::json::object& object) { return KeyOf(object).name != "hidden"; };
    callbacks.on_put = [this](boost::json::object&& object) {
      Check(KeyOf(object).name != "hidden", "what is not wanted is not told");
      held_.insert(KeyOf(object));
    };
    callbacks.on_delete = [this](const ObjectKey& key) {
      Check(held_.erase(key) == 1, "only what was put is deleted");
    };
    callbacks.on_absent = [this] { Check(held_.empty(), "an absent resource has no objects"); };
    return callbacks;
  }
  size_t size() const { return held_.size(); }

 private:
  std::set<ObjectKey> held_;
};

void CheckAction(const ReflectorCore::Action& action) {
  if (const auto* watch = std::get_if<ReflectorCore::Watch>(&action)) {
    Check(!watch->request.target.ends_with("resourceVersion="), "a watch starts from a version");
    Check(watch->request.target.find_first_of("\r\n ") == std::string::npos, "a target is one word");
  }
  if (const auto* list = std::get_if<ReflectorCore::List>(&action))
    Check(list->request.target.find_first_of("\r\n ") == std::string::npos, "a target is one word");
  if (const auto* wait = std::get_if<ReflectorCore::Wait>(&action))
    Check(wait->delay >= std::chrono::milliseconds(0), "a wait has an end");
}

void Run(std::string_view input) {
  const size_t piece = 1 + (input.empty() ? 0 : static_cast<unsigned char>(input[0]));
  input.remove_prefix(input.empty() ? 0 : 1);
  Owner owner;
  ReflectorOptions options;
  options.resource = {"example.com", "v1", "widgets"};
  ReflectorCore core(options, owner.Callbacks(), [] { return 0.5; });
  CheckAction(core.Next());
  const size_t end = input.find('\n');
  CheckAction(core.OnPage(ParseJson(input.substr(0, end))));
  std::string_view rest = end == std::string_view::npos ? std::string_view() : input.substr(end + 1);
  LineReader lines(kMaxLine);
  while (!rest.empty()) {
    const std::string_view data = rest.substr(0, piece);
    rest.remove_prefix(data.size());
    const bool fits = lines.Feed(data, [&](std::string_view line) {
      Check(!line.empty() && line.size() <= kMaxLine && line.find('\n') == std::string_view::npos,
            "a line is one");
      if (const auto action = core.OnLine(line)) CheckAction(*action);
      return true;
    });
    Check(core.size() == owner.size(), "both know the same objects");
    if (!fits) lines.Clear();
  }
  CheckAction(core.Next());
}

}  // namespace
}  // namespace weir::kubernetes

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  weir::kubernetes::Run({reinterpret_cast<const char*>(data), size});
  return 0;
}
