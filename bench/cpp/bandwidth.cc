// What the caches give: memory read in order, and whole rows at random places, which is what a sparse product does to X. Its ns a row is the
// bound of a kernel that fetches one row a link. All threads read the same memory, each with its own cache.
#include <cstring>
#include <numeric>

#include "fixture.h"
#include "team.h"

// The widest vectors that this processor has, chosen when the program is loaded.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__linux__)
#define WIDEST __attribute__((target_clones("avx512f", "avx2", "default"), noinline))
#else
#define WIDEST __attribute__((noinline))
#endif

using namespace hebb;
using namespace hebb::bench;

namespace {

typedef int32_t Lanes __attribute__((vector_size(64), aligned(64), may_alias));
constexpr int32_t kLane = 16;  // floats in Lanes

/// Adds up rows of two vectors (32 floats: batch 32) in the given order. Integers, so that nothing but the loads can be slow.
WIDEST int32_t readRows2(const int32_t* data, const int32_t* order, int64_t rows) {
  Lanes sum[8] = {};
  for (int64_t i = 0; i + 4 <= rows; i += 4) {
    for (int j = 0; j < 4; ++j) {
      const Lanes* row = reinterpret_cast<const Lanes*>(data + int64_t{order[i + j]} * 2 * kLane);
      for (int v = 0; v < 2; ++v) sum[2 * j + v] += row[v];
    }
  }
  Lanes all{};
  for (const Lanes& one : sum) all += one;
  return all[0];
}

/// The same for rows of eight vectors (128 floats: a panel).
WIDEST int32_t readRows8(const int32_t* data, const int32_t* order, int64_t rows) {
  Lanes sum[8] = {};
  for (int64_t i = 0; i < rows; ++i) {
    const Lanes* row = reinterpret_cast<const Lanes*>(data + int64_t{order[i]} * 8 * kLane);
    for (int v = 0; v < 8; ++v) sum[v] += row[v];
  }
  Lanes all{};
  for (const Lanes& one : sum) all += one;
  return all[0];
}

struct Memory {
  Memory(const std::shared_ptr<Device>& device, int64_t bytes, int32_t rowBytes, bool inOrder) : arrays(device), rows(bytes / rowBytes / 4 * 4) {
    data = arrays.zeros<int32_t>(bytes / 4);
    std::vector<int32_t> numbers(static_cast<size_t>(rows));
    std::iota(numbers.begin(), numbers.end(), 0);
    if (!inOrder) std::shuffle(numbers.begin(), numbers.end(), std::mt19937(1));
    order = arrays.copyOf(numbers);
  }
  Arrays arrays;
  int64_t rows;
  int32_t *data, *order;
};

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  for (int threads : options.threads) {
    for (const int32_t rowBytes : {128, 512}) {
      for (const int64_t kib : {16, 98, 196, 784, 3136, 16384, 131072}) {
        for (const bool inOrder : {false, true}) {
          const std::string name = std::string(inOrder ? "in order" : "at random") + "/rows of " + std::to_string(rowBytes) + " B/of " + std::to_string(kib) +
                                   " KiB/threads:" + std::to_string(threads);
          cases.push_back({name, [=] {
            const auto memory = std::make_shared<Memory>(deviceOf(1), kib * 1024, rowBytes, inOrder);
            const auto team = std::make_shared<cpu::Team>(threads);
            const int64_t repeats = std::max<int64_t>(1, 4096 / kib);  // longer than starting and ending a loop
            const auto call = [=] {
              team->parallel(threads, [&](int64_t, int) {
                int32_t sum = 0;
                for (int64_t n = 0; n < repeats; ++n) sum += (rowBytes == 128 ? readRows2 : readRows8)(memory->data, memory->order, memory->rows);
                [[maybe_unused]] volatile int32_t sink = sum;
              });
            };
            // ns a row is one thread's: the others read at the same time.
            const double rows = static_cast<double>(memory->rows * repeats);
            return Work{call, rows, 0, rows * rowBytes * threads};
          }});
        }
      }
    }
    if (threads > 1) {
      cases.push_back({"empty parallel loop/threads:" + std::to_string(threads), [=] {
        const auto team = std::make_shared<cpu::Team>(threads);
        return Work{[=] { team->parallel(threads, [](int64_t, int) {}); }, 1, 0, 0};
      }});
    }
  }
  runAll(cases, options, "row");
}
