// How rates are measured: threads that wait for each other awake repeat a loop for some milliseconds, and the best of
// several tries counts. A roofline is the largest of its bounds; its name goes with it into the results.
#include "roofline.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <thread>
#include <tuple>

#include "cpu.h"
#include "roofline_kernels.h"

namespace hebb::bench {
namespace {

using Clock = std::chrono::steady_clock;

/// A rate is the best of so many tries: a roof is what the machine can do, not what it does beside others.
constexpr int kTries = 15;
/// Beyond this a working set is in memory on any machine, and larger ones would only take longer to fill.
constexpr double kLargest = 256 << 20;

double roofTime = 0.004;
std::vector<MeasuredRate> measured;

/// The kernels of the level that a device of this machine uses.
const RoofKernels& kernels() {
  static const RoofKernels chosen = [] {
    std::map<std::string, RoofKernels (*)()> made;
#define HEBB_ROOF_ENTRY(name) made[#name] = name::roofKernels;
    HEBB_ROOF_LEVELS(HEBB_ROOF_ENTRY)
#undef HEBB_ROOF_ENTRY
    for (const cpu::Level& level : cpu::levels()) {
      if (!level.supported()) continue;
      std::string key = level.name;
      std::replace(key.begin(), key.end(), '-', '_');
      RoofKernels result = made.at(key)();
      result.level = level.name;
      return result;
    }
    std::abort();  // the last level runs everywhere
  }();
  return chosen;
}

struct Free {
  void operator()(float* memory) const { std::free(memory); }
};
using Floats = std::unique_ptr<float[], Free>;

/// Zeros, written by the thread that calls, so that they lie near it.
Floats zeros(int64_t count) {
  const size_t bytes = (static_cast<size_t>(count) * 4 + 127) / 64 * 64;
  Floats result(static_cast<float*>(std::aligned_alloc(64, bytes)));
  if (!result) std::abort();
  std::fill(result.get(), result.get() + bytes / 4, 0.f);
  return result;
}

/// Where threads wait for each other awake, so that they go on at the same moment.
class Gate {
 public:
  explicit Gate(int threads) : threads_(threads) {}
  void pass() {
    const int64_t round = arrived_.fetch_add(1) / threads_;
    for (int spins = 0; arrived_.load() < (round + 1) * threads_; ++spins) {
      if (spins > 10000) std::this_thread::yield();
    }
  }

 private:
  const int64_t threads_;
  std::atomic<int64_t> arrived_{0};
};

/// Calls a second of `threads` threads together. make(rank) runs in the thread and gives what it then repeats.
double callsPerSecond(int threads, const std::function<std::function<int32_t()>(int)>& make) {
  Gate gate(threads);
  std::vector<Clock::time_point> begins(static_cast<size_t>(threads)), ends(static_cast<size_t>(threads));
  int64_t repeats = 1;
  double best = 0;
  const auto run = [&](int rank) {
    const std::function<int32_t()> call = make(rank);
    int32_t sink = 0;
    for (int attempt = 0; attempt < kTries;) {
      gate.pass();
      begins[static_cast<size_t>(rank)] = Clock::now();
      for (int64_t i = 0; i < repeats; ++i) sink += call();
      ends[static_cast<size_t>(rank)] = Clock::now();
      gate.pass();
      const double whole = std::chrono::duration<double>(*std::max_element(ends.begin(), ends.end()) -
                                                         *std::min_element(begins.begin(), begins.end()))
                               .count();
      // The fastest thread tells whether there was enough to do: another one may only have been put aside by the
      // system.
      double least = whole;
      for (size_t t = 0; t < ends.size(); ++t)
        least = std::min(least, std::chrono::duration<double>(ends[t] - begins[t]).count());
      const bool enough = least >= roofTime;
      gate.pass();  // all have read `repeats` and the times
      if (rank == 0) {
        if (enough) best = std::max(best, static_cast<double>(repeats) * threads / whole);
        else repeats *= 2;
      }
      attempt += enough;
      gate.pass();
    }
    [[maybe_unused]] volatile int32_t result = sink;
  };
  std::vector<std::thread> others;
  for (int rank = 1; rank < threads; ++rank) others.emplace_back(run, rank);
  run(0);
  for (std::thread& other : others) other.join();
  return best;
}

/// The cached rate of a key, or what `measure` finds.
template <class Measure>
double once(const std::string& what, const std::string& unit, double scale, double bytes, double detail, int threads,
            const Measure& measure) {
  static std::map<std::tuple<std::string, double, double, int>, double> known;
  const auto key = std::make_tuple(what, bytes, detail, threads);
  const auto found = known.find(key);
  if (found != known.end()) return found->second;
  const double rate = measure();
  known[key] = rate;
  measured.push_back({what, unit, bytes, threads, rate * scale});
  return rate;
}

}  // namespace

void setRoofTime(double seconds) { roofTime = seconds; }
const std::vector<MeasuredRate>& measuredRates() { return measured; }

std::string levelOf(double bytes) {
  // What the C library says of a virtual machine's caches may be the whole host's; the kernel says what this one sees.
  static const std::map<int, double> sizes = [] {
    std::map<int, double> found;
    for (int i = 0; i < 8; ++i) {
      const std::string folder = std::string("/sys/devices/system/cpu/cpu0/cache/index").append(std::to_string(i));
      std::ifstream level(folder + "/level"), type(folder + "/type"), size(folder + "/size");
      int number;
      std::string kind, unit;
      double amount;
      if (!(level >> number) || !(type >> kind) || !(size >> amount)) break;
      size >> unit;
      if (kind != "Instruction") found[number] = amount * (unit == "M" ? 1 << 20 : 1 << 10);
    }
    return found;
  }();
  if (sizes.empty()) return "a cache or memory";
  for (const auto& [level, size] : sizes) {
    if (bytes <= size) return std::string("L").append(std::to_string(level));
  }
  return "memory";
}

double passRate(Pass pass, double bytes, int threads) {
  // Sizes a factor of sqrt(2) apart, the one below: bandwidth does not grow with size.
  const double size = std::clamp(std::exp2(std::floor(2 * std::log2(bytes / threads)) / 2), 4096., kLargest / threads);
  const int64_t count = static_cast<int64_t>(size / 4) / 256 * 256;
  static const char* const names[] = {"read", "write", "copy", "update"};
  return once(names[static_cast<int>(pass)], "GB/s", 1e-9, static_cast<double>(count) * 4, 0, threads, [&] {
    const RoofKernels& k = kernels();
    return 4. * static_cast<double>(count) * callsPerSecond(threads, [&, count](int) -> std::function<int32_t()> {
      const auto data = std::make_shared<Floats>(zeros(count));
      if (pass == Pass::read) return [&k, data, count] { return k.read(data->get(), count); };
      const auto call = pass == Pass::write ? k.write : pass == Pass::copy ? k.copy : k.update;
      return [call, data, count] { return call(data->get(), count); };
    });
  });
}

double fetchRate(int32_t features, int32_t rowBytes, double degree, int threads) {
  const auto links = static_cast<int32_t>(std::clamp<double>(std::lround(degree), 1, features));
  char what[80];
  std::snprintf(what, sizeof what, "rows of %d B, %d of %d", rowBytes, links, features);
  const double size = static_cast<double>(features) * rowBytes;
  return once(what, "GB/s", 1e-9, size, 0, threads, [&] {
    const RoofKernels& k = kernels();
    const int32_t stride = rowBytes / 4, length = stride / k.width * k.width;
    const Floats data = zeros(int64_t{features} * stride);
    const int64_t wanted = std::clamp<int64_t>(2 * int64_t{features}, 1 << 14, 1 << 21);
    const int64_t rows = (wanted + links - 1) / links * links / 8 * 8;
    const double calls = callsPerSecond(threads, [&](int rank) -> std::function<int32_t()> {
      // One neuron after the other, each with so many links anywhere.
      auto order = std::make_shared<std::vector<int32_t>>();
      std::mt19937 random(static_cast<uint32_t>(rank) + 1);
      std::uniform_int_distribution<int32_t> any(0, features - 1);
      while (static_cast<int64_t>(order->size()) < rows) {
        const auto begin = static_cast<ptrdiff_t>(order->size());
        for (int32_t i = 0; i < links; ++i) order->push_back(any(random));
        std::sort(order->begin() + begin, order->end());
      }
      return
          [&k, &data, order, stride, length, rows] { return k.fetch(data.get(), stride, length, order->data(), rows); };
    });
    return 4. * length * static_cast<double>(rows) * calls;
  });
}

double flopRate(int threads) {
  return once("multiply-add", "GFLOP/s", 1e-9, 0, 0, threads, [&] {
    const RoofKernels& k = kernels();
    constexpr int64_t kRounds = 4096;
    return 2. * kAccumulators * k.width * kRounds *
           callsPerSecond(threads, [&](int) { return [&k] { return k.multiplyAdd(kRounds); }; });
  });
}

double drawRate(int threads) {
  return once("Philox blocks", "1e9/s", 1e-9, 0, 0, threads, [&] {
    const RoofKernels& k = kernels();
    constexpr int64_t kRounds = 1024;
    return static_cast<double>(k.width * kRounds) *
           callsPerSecond(threads, [&](int) { return [&k] { return k.draw(kRounds); }; });
  });
}

double scatterRate(int threads) {
  return once("scattered additions", "1e9/s", 1e-9, 0, 0, threads, [&] {
    const RoofKernels& k = kernels();
    constexpr int32_t kPlaces = 2048;
    constexpr int32_t kCount = 4096;
    return kCount * callsPerSecond(threads, [&](int rank) -> std::function<int32_t()> {
      const auto sums = std::make_shared<Floats>(zeros(kPlaces));
      auto places = std::make_shared<std::vector<int32_t>>(kCount);
      std::mt19937 random(static_cast<uint32_t>(rank) + 1);
      for (int32_t& place : *places) place = static_cast<int32_t>(random() % kPlaces);
      std::sort(places->begin(), places->begin() + kCount / 2);
      std::sort(places->begin() + kCount / 2, places->end());
      return
          [&k, sums, places] { return k.scatter(sums->get(), places->data(), static_cast<int64_t>(places->size())); };
    });
  });
}

Roof roofline(double flop, const Traffic& t, int threads) {
  Roof roof;
  const auto bound = [&](double seconds, const std::string& what) {
    if (seconds > roof.seconds) roof = {seconds, what};
  };
  if (flop > 0) bound(flop / flopRate(threads), "flop");
  if (t.draws > 0) bound(t.draws / drawRate(threads), "random numbers");
  if (t.scattered > 0) bound(t.scattered / scatterRate(threads), "scattered additions");
  if (t.loaded() > 0) bound(t.loaded() / passRate(Pass::read, 16384. * threads, threads), "loads from L1");
  const auto fetched = [&](const Fetch& f) {
    return f.bytes > 0 ? f.bytes / fetchRate(f.features, f.rowBytes, f.degree, threads) : 0;
  };
  if (t.fetch.bytes > 0) {
    // Both come the same way, one after the other.
    bound(fetched(t.fetch) + fetched(t.lines),
          std::string("rows from ").append(levelOf(static_cast<double>(t.fetch.features) * t.fetch.rowBytes)));
  }
  const double footprint = t.read + t.write + t.update;
  if (footprint > 0) {
    // What is read beside what is written is a copy; only the rest is a pass of one kind.
    const double copied = std::min(t.read, t.write);
    double seconds = 0;
    const auto add = [&](double bytes, Pass pass) {
      if (bytes > 0) seconds += bytes / passRate(pass, footprint, threads);
    };
    add(2 * copied, Pass::copy);
    add(t.read - copied, Pass::read);
    add(t.write - copied, Pass::write);
    add(t.update, Pass::update);
    bound(seconds, std::string("arrays in ").append(levelOf(footprint / threads)));
  }
  return roof;
}

}  // namespace hebb::bench
