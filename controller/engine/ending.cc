// Connections that are open to a revision that has lost: when they are ended, and what is said of it.
#include <algorithm>

#include "controller/engine/machine.h"

namespace weir::engine {
namespace {

std::string Count(uint64_t n, const char* noun) {
  return std::to_string(n) + " " + noun + (n == 1 ? "" : "s");
}

/// "1500ms", "30s", "5m".
std::string Text(Duration duration) {
  const auto ms = duration.count();
  if (ms % 1000 != 0) return std::to_string(ms) + "ms";
  if (ms % 60'000 != 0 || ms == 0) return std::to_string(ms / 1000) + "s";
  return std::to_string(ms / 60'000) + "m";
}

/// Who can answer has: with the weights in force, or with a refusal.
bool AllAnswered(const State& state) {
  const Acks& acks = state.acks;
  return state.generation != 0 && acks.generation == state.generation &&
         acks.acked + acks.refusing.size() >= acks.desired;
}

}  // namespace

/// `revision` gets no new connections from the next publish on.
void Machine::PlanEnding(const std::string& revision, bool completed) {
  const OpenConnections& wanted = completed ? state_.spec.on_complete : state_.spec.on_abort;
  state_.ending.reset();
  if (wanted.way == OpenConnections::Way::kKeep || revision.empty() || revision == state_.stable) return;
  Ending& ending = state_.ending.emplace();
  ending.number = ++state_.endings;
  ending.revision = revision;
  ending.completed = completed;
  if (wanted.way == OpenConnections::Way::kDrain) ending.drain = wanted.deadline;
}

void Machine::CancelEnding() {
  if (!state_.ending) return;
  if (!state_.ending->ordered)
    Emit(Note{"connections to revision " + state_.ending->revision + " are not ended: another beginning"});
  state_.ending.reset();
}

/// What was wanted for open connections may change until they are ended.
void Machine::KeepEnding(const Spec& before) {
  if (!state_.aborted || state_.canary.empty() || state_.spec.on_abort == before.on_abort) return;
  if (!state_.ending || !state_.ending->ordered) PlanEnding(state_.canary, /*completed=*/false);
}

void Machine::OrderWhenDue() {
  if (!state_.ending || state_.ending->ordered) return;
  Ending& ending = *state_.ending;
  if (ending.drain && !ending.due && AllAnswered(state_)) ending.due = now_ + *ending.drain;
  if (ending.drain && (!ending.due || now_ < *ending.due)) return;
  if (state_.generation == 0) return;  // the weights have no number yet: nodes could not tell when
  ending.ordered = true;
  ending.generation = state_.generation;
  Emit(Note{"open connections to revision " + ending.revision + " are ended"});
}

void Machine::On(const ConnectionsEnded& event) {
  if (!state_.ending || !state_.ending->ordered || state_.ending->number != event.number) return;
  for (const auto& [node, ended] : event.nodes) state_.ending->nodes[node] = ended;
}

EndedSum SumOf(const Ending& ending) {
  EndedSum sum;
  for (const auto& [node, ended] : ending.nodes) {
    sum.connections += ended.connections;
    sum.left += ended.left;
    if (!ended.trouble.empty()) sum.troubles.push_back(node + ": " + ended.trouble);
  }
  return sum;
}

std::string DescribeEnding(const State& state, TimePoint now) {
  if (!state.ending) return "";
  const Ending& ending = *state.ending;
  const std::string of = " of revision " + ending.revision;
  if (!ending.ordered) {
    if (!ending.due)
      return "open connections" + of + " are ended " + Text(*ending.drain) +
             " after every node has acknowledged";
    // To the second: who reads it does not want it to flicker.
    const Duration left = std::max(Duration{0}, *ending.due - now);
    return "open connections" + of + " are ended in " + Text(std::chrono::ceil<std::chrono::seconds>(left));
  }
  const EndedSum sum = SumOf(ending);
  std::string text =
      "ended " + Count(sum.connections, "connection") + of + " on " + Count(ending.nodes.size(), "node");
  const size_t desired = state.acks.desired;
  if (ending.nodes.size() < desired) text += ", waiting for " + Count(desired - ending.nodes.size(), "node");
  if (sum.left > 0) text += ", " + Count(sum.left, "connection") + " left";
  std::string troubles;
  for (const std::string& trouble : sum.troubles) troubles += (troubles.empty() ? "" : "; ") + trouble;
  return troubles.empty() ? text : text + " (" + troubles + ")";
}

}  // namespace weir::engine
