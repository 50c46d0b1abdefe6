#include "runtime/plan.h"

#include <algorithm>
#include <chrono>

#include "runtime/dispatch.h"

namespace xnornet {

// What steps need beside the values, for each of some threads.
struct Plan::Scratch {
  Scratch(int threads, size_t bytes, size_t slots) : memory(bytes * threads), alias_rows(slots * threads) {
    for (int t = 0; t < threads; ++t) {
      of_thread.push_back(memory.data() + t * bytes);
      aliases.push_back(alias_rows.data() + t * slots);
    }
  }
  Memory memory;
  std::vector<char*> of_thread, alias_rows;
  std::vector<char**> aliases;
};

struct Plan::Workspace {
  Workspace(const Schedule& schedule, size_t images, size_t scratch_bytes)
      : capacity(images),
        arena(schedule.arena_bytes * images),
        buffers(schedule.slots.size()),
        alone(1, scratch_bytes, buffers.size()) {}
  size_t capacity;
  Memory arena;
  std::vector<char*> buffers;
  Scratch alone;
};

Plan::Plan(const Graph& graph, const std::vector<float>& scale, const std::vector<float>& bias, int threads,
           const std::string& isa, const Numbers& numbers)
    : kernels_(select_kernels(isa)),
      schedule_(make_schedule(graph, kernels_, std::make_shared<InputReader>(graph.values()[0], scale, bias),
                              numbers, threads)),
      team_(threads) {
  for (const auto& step : schedule_.steps) scratch_bytes_ = std::max(scratch_bytes_, step->scratch_bytes);
  scratch_bytes_ = round_up(scratch_bytes_ + kSlack, kLine);
  if (threads > 1) together_ = std::make_unique<Scratch>(threads, scratch_bytes_, schedule_.slots.size());
  give_back(take(1));  // so that the first run need not wait for memory
}

Plan::~Plan() {
  for (auto& idle : idle_) delete idle.load();
}

Plan::Workspace* Plan::take(size_t batch) {
  for (auto& idle : idle_) {
    Workspace* workspace = idle.exchange(nullptr);
    if (!workspace) continue;
    if (workspace->capacity >= batch) return workspace;
    delete workspace;  // too small: a larger one takes its place
    break;
  }
  return new Workspace(schedule_, batch, scratch_bytes_);
}

void Plan::give_back(Workspace* workspace) {
  for (auto& idle : idle_) {
    Workspace* none = nullptr;
    if (idle.compare_exchange_strong(none, workspace)) return;
  }
  delete workspace;
}

void Plan::run(const RawInput& input, size_t batch, float* logits, double* step_ms) {
  // Given back also where a step throws (out of memory).
  const auto give = [this](Workspace* w) { give_back(w); };
  const std::unique_ptr<Workspace, decltype(give)> workspace(take(batch), give);
  for (size_t s = 0; s < schedule_.slots.size(); ++s)
    workspace->buffers[s] =
        workspace->arena.data() + schedule_.slots[s].offset * batch + schedule_.slots[s].shift;
  // The step whose value the output is writes to the caller's memory.
  if (!schedule_.output_is_read) workspace->buffers[schedule_.output_slot] = reinterpret_cast<char*>(logits);
  const auto release = [](Team* t) { t->release(); };
  const std::unique_ptr<Team, decltype(release)> team(team_.hold(), release);
  const Scratch& scratch = team ? *together_ : workspace->alone;
  const Run run{.buffers = workspace->buffers.data(),
                .batch = batch,
                .input = input,
                .team = team.get(),
                .scratch = scratch.of_thread.data(),
                .aliases = scratch.aliases.data(),
                .slots = workspace->buffers.size()};
  for (size_t i = 0; i < schedule_.steps.size(); ++i) {
    if (!step_ms) {
      schedule_.steps[i]->run(run);
      continue;
    }
    const auto start = std::chrono::steady_clock::now();
    schedule_.steps[i]->run(run);
    const std::chrono::duration<double, std::milli> spent = std::chrono::steady_clock::now() - start;
    step_ms[i] = spent.count();
  }
  if (schedule_.output_is_read)
    std::memcpy(logits, workspace->buffers[schedule_.output_slot], batch * schedule_.output.bytes());
}

}  // namespace xnornet
