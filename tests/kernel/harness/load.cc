#include "tests/kernel/harness/load.h"

#include <linux/futex.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

namespace weir::kernel_test {
namespace {

// std::atomic::wait is for one process only.
void FutexWake(std::atomic<uint32_t>* word) { syscall(SYS_futex, word, FUTEX_WAKE, 1, nullptr, nullptr, 0); }
void FutexWait(std::atomic<uint32_t>* word, uint32_t value) {
  const timespec second{1, 0};
  syscall(SYS_futex, word, FUTEX_WAIT, value, &second, nullptr, 0);
}

void NoteFirstError(LoadState* state, const std::string& text) {
  if (state->first_error_taken.exchange(true)) return;
  std::strncpy(state->first_error, text.c_str(), sizeof(state->first_error) - 1);
}

struct Outcome {
  uint32_t epoch_after_connect;
  Result<uint8_t> id;
};

Outcome DialOnce(const LoadState& state, const SockAddr& to, Protocol protocol) {
  Socket socket = Socket::Open(to.family(), protocol == Protocol::kTcp ? SOCK_STREAM : SOCK_DGRAM);
  if (state.may_fail_in_change) {
    // A listener that is closed between a handshake's second and third packet leaves a client that is
    // connected to nobody and told nothing. It must not take a thread with it for long.
    const timeval patience{.tv_sec = 2, .tv_usec = 0};
    setsockopt(socket.fd(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  const int error = socket.Connect(to);
  const uint32_t epoch = state.epoch.load();
  if (error != 0) return {epoch, ErrnoStatus(error, "connect")};
  if (protocol == Protocol::kUdp) {
    if (Status sent = socket.Send("?"); !sent.ok()) return {epoch, sent};
  }
  const auto data = socket.Receive();
  if (!data.ok()) return {epoch, data.status()};
  if (data->empty()) return {epoch, Error(absl::StatusCode::kUnavailable, "closed without a word")};
  return {epoch, static_cast<uint8_t>((*data)[0])};
}

void DialUntilStopped(LoadState* state, int client, const SockAddr& to, Protocol protocol) {
  while (!state->stop) {
    const uint32_t before = state->epoch.load();
    const Outcome outcome = DialOnce(*state, to, protocol);
    ++state->connections;
    if (!outcome.id.ok()) {
      const bool in_change = before % 2 == 1 || before != state->epoch.load();
      if (in_change && state->may_fail_in_change) {
        ++state->failed_in_change;
        continue;
      }
      ++state->failed;
      NoteFirstError(state, fmt::format("connection in epoch {}: {}", before, Message(outcome.id.status())));
      continue;
    }
    ++state->received[*outcome.id];
    if (before % 2 == 1 || before != outcome.epoch_after_connect) continue;
    if (!state->allowed[*outcome.id] && before == state->epoch.load()) {
      ++state->misdirected;
      NoteFirstError(state, fmt::format("connection in epoch {} went to {}", before, *outcome.id));
    }
    ++state->checked[client];
    FutexWake(&state->checked[client]);
  }
}

}  // namespace

Load::Load(const std::vector<std::string>& cgroups, const SocketAddress& vip, int threads_each,
           Protocol protocol) {
  LoadState* state = state_.get();
  for (auto& allowed : state->allowed) allowed = true;
  for (size_t client = 0; client < cgroups.size(); ++client) {
    clients_.push_back(std::make_unique<ClientProcess>(cgroups[client], [=]() -> Result<std::string> {
      std::vector<std::thread> threads;
      threads.reserve(static_cast<size_t>(threads_each));
      for (int i = 0; i < threads_each; ++i)
        threads.emplace_back(
            [=] { DialUntilStopped(state, static_cast<int>(client), ToSockAddr(vip), protocol); });
      for (auto& thread : threads) thread.join();
      return std::string();
    }));
  }
}

Load::~Load() {
  if (!clients_.empty()) state_->stop = true;
}

void Load::BeginChange() { ++state_->epoch; }

void Load::EndChange(const std::string& allowed_ids) {
  for (int id = 0; id < 256; ++id)
    state_->allowed[id] = allowed_ids.find(static_cast<char>(id)) != std::string::npos;
  ++state_->epoch;
}

Status Load::WaitChecked(uint32_t n) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  std::vector<uint32_t> start;
  for (size_t client = 0; client < clients_.size(); ++client) start.push_back(state_->checked[client]);
  for (size_t client = 0; client < clients_.size(); ++client) {
    for (uint32_t now; (now = state_->checked[client]) - start[client] < n;) {
      if (std::chrono::steady_clock::now() > deadline)
        return Error(absl::StatusCode::kDeadlineExceeded,
                     "client {} made {} of {} connections in ten seconds; {}", client, now - start[client], n,
                     state_->first_error);
      FutexWait(&state_->checked[client], now);
    }
  }
  return OkStatus();
}

Status Load::Stop() {
  state_->stop = true;
  Status out;
  for (auto& client : clients_) {
    if (const auto result = client->Wait(); !result.ok()) out = result.status();
  }
  clients_.clear();
  RETURN_IF_ERROR(out);
  if (state_->failed != 0 || state_->misdirected != 0)
    return Error(absl::StatusCode::kInternal,
                 "of {} connections {} failed and {} were misdirected; first: {}", state_->connections.load(),
                 state_->failed.load(), state_->misdirected.load(), state_->first_error);
  return OkStatus();
}

}  // namespace weir::kernel_test
