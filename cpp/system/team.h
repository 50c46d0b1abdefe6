// A small thread pool: the calling thread and some helpers run one function together.
//
// Not OpenMP, whose state does not survive a fork. Work is split into one part a thread, always the same way,
// and no result depends on the split. A part may be run by any thread: where a helper does not get a core in
// time, the caller runs its part too, so a busy machine costs the gain of the threads and not more. A team of
// one has no helper at all.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace xnornet {

class Team {
 public:
  using Body = std::function<void(int part, int parts)>;

  explicit Team(int threads);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int threads() const { return threads_; }
  unsigned process() const { return process_; }  // that has its threads

  // Run body(part, threads) for every part, several at once; return when all are done. One caller at a time.
  void run(const Body& body);

  // One caller at a time may hold a team.
  bool try_hold() { return !held_.exchange(true, std::memory_order_acquire); }
  void release() { held_.store(false, std::memory_order_release); }

 private:
  void help();
  void stop();
  int claim();  // a part of this round that nobody runs yet, or -1

  const unsigned process_;
  const int threads_;
  std::atomic<bool> held_{false};
  std::atomic<const Body*> body_{nullptr};
  // Number of the round and, in the low 16 bits, the next part to be claimed: one word, so that a thread that
  // comes late cannot claim a part of a round that is over.
  std::atomic<uint64_t> ticket_;
  std::atomic<int> done_{0};  // parts that were claimed and are finished
  bool stop_ = false;         // under the mutex
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> helpers_;
};

// A team that outlives forks: the threads of a parent do not exist in its child, which gets its own team.
class TeamOwner {
 public:
  explicit TeamOwner(int threads) : threads_(threads) {}
  ~TeamOwner();
  TeamOwner(const TeamOwner&) = delete;
  TeamOwner& operator=(const TeamOwner&) = delete;

  // The team, held for the caller, or null: work alone (one thread, or another caller has it).
  Team* hold();
  int threads() const { return threads_; }

 private:
  const int threads_;
  std::atomic<Team*> team_{nullptr};
};

// The part [begin, end) of `count` items that thread t of n takes, in whole multiples of `grain`.
struct Part {
  size_t begin, end;
};
Part part_of(size_t count, size_t grain, int thread, int threads);

}  // namespace xnornet
