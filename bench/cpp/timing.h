// Times calls and prints one row a case: median, least and largest time of 5 repetitions, and what the median means for a link. Google Benchmark
// does the timing where it is installed; without it, the loop at the end of this file.
//   --threads=1,2    thread counts (default: 1 and all)
//   --filter=REGEX   cases to run
//   --min-time=0.05  seconds a repetition runs at least
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "hebb/status.h"

#if defined(HEBB_GOOGLE_BENCHMARK)
#include <benchmark/benchmark.h>
#else
#include <chrono>
#include <regex>
#endif

namespace hebb::bench {

inline constexpr int kRepetitions = 5;

/// Ends the program when a call of the library fails: a benchmark has no one to tell.
inline void must(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.message().c_str());
  std::exit(1);
}

/// One call, and what it does: items (links, values), floating-point operations, and bytes that travel between registers and caches.
struct Work {
  std::function<void()> call;
  double items = 0, flop = 0, bytes = 0;
};

/// A case makes its data when its turn comes; they are freed when the next one's does.
struct Case {
  std::string name;
  std::function<Work()> prepare;
};

struct Options {
  std::vector<int> threads;
  std::string filter = ".";
  double minTime = 0.05;
  std::vector<char*> rest;  // for Google Benchmark
};

inline Options parse(int argc, char** argv) {
  Options options;
  options.rest.push_back(argv[0]);
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    const auto value = [&](const char* flag) { return arg.rfind(flag, 0) == 0 ? argv[i] + std::string(flag).size() : nullptr; };
    if (const char* list = value("--threads=")) {
      for (char* at = const_cast<char*>(list); *at; at += *at == ',') options.threads.push_back(std::max(1, static_cast<int>(std::strtol(at, &at, 10))));
    } else if (const char* filter = value("--filter=")) {
      options.filter = filter;
    } else if (const char* seconds = value("--min-time=")) {
      options.minTime = std::atof(seconds);
    } else {
      options.rest.push_back(argv[i]);
    }
  }
  if (options.threads.empty()) {
    options.threads.push_back(1);
    if (const int all = static_cast<int>(std::thread::hardware_concurrency()); all > 1) options.threads.push_back(all);
  }
  return options;
}

inline void printHead(const char* item) {
  const std::string each = std::string("ns/") + item;
  std::printf("%-44s %11s %11s %11s %10s %9s %8s\n", "case", "median us", "min us", "max us", each.c_str(), "GFLOP/s", "GB/s");
}

/// `seconds` a call, one for each repetition.
inline void printRow(const std::string& name, const Work& work, std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  const double median = seconds[seconds.size() / 2];
  const auto number = [](double value, const char* format) {
    char text[32] = "-";
    if (value > 0) std::snprintf(text, sizeof text, format, value);
    return std::string(text);
  };
  std::printf("%-44s %11.2f %11.2f %11.2f %10s %9s %8s\n", name.c_str(), median * 1e6, seconds.front() * 1e6, seconds.back() * 1e6,
              number(work.items > 0 ? median * 1e9 / work.items : 0, "%.3f").c_str(), number(work.flop / median * 1e-9, "%.1f").c_str(),
              number(work.bytes / median * 1e-9, "%.1f").c_str());
  std::fflush(stdout);
}

/// The prepared data of the case that is running.
inline const Work& workOf(const Case& one) {
  static const Case* current = nullptr;
  static Work work;
  if (current != &one) {
    work = {};  // frees the last case's data first
    work = one.prepare();
    work.call();
    current = &one;
  }
  return work;
}

#if defined(HEBB_GOOGLE_BENCHMARK)

class Rows : public benchmark::BenchmarkReporter {
 public:
  explicit Rows(const std::vector<Case>& cases) : cases_(cases) {}
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    std::vector<double> seconds;
    for (const Run& run : runs) {
      if (run.run_type == Run::RT_Iteration) seconds.push_back(run.GetAdjustedRealTime() / benchmark::GetTimeUnitMultiplier(run.time_unit));
    }
    // Google Benchmark appends its own settings to the name.
    for (const Case& one : cases_) {
      if (!seconds.empty() && runs[0].run_name.function_name == one.name) printRow(one.name, workOf(one), seconds);
    }
  }

 private:
  const std::vector<Case>& cases_;
};

inline void runAll(const std::vector<Case>& cases, Options options, const char* item) {
  int count = static_cast<int>(options.rest.size());
  benchmark::Initialize(&count, options.rest.data());
  if (benchmark::ReportUnrecognizedArguments(count, options.rest.data())) std::exit(2);
  for (const Case& one : cases) {
    benchmark::RegisterBenchmark(one.name.c_str(), [&one](benchmark::State& state) {
      const Work& work = workOf(one);
      for (auto _ : state) work.call();
    })->UseRealTime()->MinTime(options.minTime)->Repetitions(kRepetitions);
  }
  printHead(item);
  Rows rows(cases);
  if (benchmark::GetBenchmarkFilter().empty()) benchmark::RunSpecifiedBenchmarks(&rows, options.filter);
  else benchmark::RunSpecifiedBenchmarks(&rows);
}

#else

inline double secondsOf(const Work& work, long calls) {
  const auto start = std::chrono::steady_clock::now();
  for (long i = 0; i < calls; ++i) work.call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

inline void runAll(const std::vector<Case>& cases, Options options, const char* item) {
  if (options.rest.size() > 1) {
    std::fprintf(stderr, "Expected --threads=, --filter= or --min-time=, got %s\n", options.rest[1]);
    std::exit(2);
  }
  const std::regex filter(options.filter);
  printHead(item);
  for (const Case& one : cases) {
    if (!std::regex_search(one.name, filter)) continue;
    const Work& work = workOf(one);
    long calls = 1;
    while (secondsOf(work, calls) < options.minTime && calls < 1L << 40) calls *= 2;
    std::vector<double> seconds;
    for (int i = 0; i < kRepetitions; ++i) seconds.push_back(secondsOf(work, calls) / static_cast<double>(calls));
    printRow(one.name, work, seconds);
  }
}

#endif

}  // namespace hebb::bench
