#include "system/team.h"

#include <algorithm>
#include <system_error>

#include "system/process.h"

namespace xnornet {
namespace {

// Layers follow each other within microseconds, so a helper watches for the next one before it sleeps.
constexpr int kSpins = 4000;

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

Team::Team(int threads)
    : process_(process_generation()), threads_(threads), ticket_(static_cast<uint64_t>(threads)) {
  try {
    for (int t = 1; t < threads; ++t) helpers_.emplace_back(&Team::help, this);
  } catch (...) {  // no more threads to be had: those there are must end before the members do
    stop();
    throw;
  }
}

Team::~Team() { stop(); }

void Team::stop() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (auto& helper : helpers_) helper.join();
}

void Team::run(const Body& body) {
  body_.store(&body, std::memory_order_relaxed);
  done_.store(0, std::memory_order_relaxed);
  {
    // Part 0 is the caller's. Under the lock, or a helper about to sleep would miss it.
    std::lock_guard lock(mutex_);
    const uint64_t round = (ticket_.load(std::memory_order_relaxed) >> 16) + 1;
    ticket_.store(round << 16 | 1, std::memory_order_release);
  }
  wake_.notify_all();
  body(0, threads_);
  for (int part; (part = claim()) >= 0; done_.fetch_add(1, std::memory_order_relaxed)) body(part, threads_);
  for (int spin = 0; done_.load(std::memory_order_acquire) != threads_ - 1; ++spin) {
    if (spin < kSpins) {
      pause();
    } else {
      std::this_thread::yield();
    }
  }
}

int Team::claim() {
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  while (static_cast<int>(ticket & 0xffff) < threads_)
    if (ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel,
                                      std::memory_order_acquire))
      return static_cast<int>(ticket & 0xffff);
  return -1;
}

void Team::help() {
  const auto idle = [this] {
    return static_cast<int>(ticket_.load(std::memory_order_acquire) & 0xffff) >= threads_;
  };
  for (;;) {
    for (int part; (part = claim()) >= 0; done_.fetch_add(1, std::memory_order_release))
      (*body_.load(std::memory_order_relaxed))(part, threads_);
    for (int spin = 0; spin < kSpins && idle(); ++spin) pause();
    if (!idle()) continue;
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] { return stop_ || !idle(); });
    if (stop_) return;
  }
}

TeamOwner::~TeamOwner() {
  Team* team = team_.load();
  if (team && team->process() == process_generation()) delete team;
}

Team* TeamOwner::hold() {
  if (threads_ == 1) return nullptr;
  Team* team = team_.load(std::memory_order_acquire);
  if (!team || team->process() != process_generation()) {
    // After a fork the old object is abandoned, not destroyed: its threads are not here to be joined.
    Team* fresh;
    try {
      fresh = new Team(threads_);
    } catch (const std::system_error&) {
      return nullptr;  // no threads to be had: memory, a limit of processes
    }
    if (team_.compare_exchange_strong(team, fresh)) {
      team = fresh;
    } else {
      delete fresh;  // another thread was first; `team` is now its team
    }
  }
  return team->try_hold() ? team : nullptr;
}

Part part_of(size_t count, size_t grain, int thread, int threads) {
  const size_t grains = (count + grain - 1) / grain;
  const size_t begin = grains * thread / threads, end = grains * (thread + 1) / threads;
  return {std::min(begin * grain, count), std::min(end * grain, count)};
}

}  // namespace xnornet
