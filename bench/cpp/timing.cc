// Flags, timing and JSON. A case is called once before it is timed, and what it does before each call (Work::before) is
// not timed.
#include "timing.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <memory>
#include <thread>

#if defined(HEBB_GOOGLE_BENCHMARK)
#include <benchmark/benchmark.h>
#else
#include <regex>
#endif

namespace hebb::bench {

Options parse(int argc, char** argv) {
  Options options;
  options.rest.push_back(argv[0]);
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    const auto value = [&](const char* flag) {
      return arg.rfind(flag, 0) == 0 ? argv[i] + std::string(flag).size() : nullptr;
    };
    if (const char* list = value("--threads=")) {
      for (char* at = const_cast<char*>(list); *at; at += *at == ',') {
        char* end;
        const long threads = std::strtol(at, &end, 10);
        if (end == at || threads < 1 || threads > 1024 || (*end && *end != ',')) {
          std::fprintf(stderr, "Expected --threads=1,2 or the like, got %s\n", argv[i]);
          std::exit(2);
        }
        options.threads.push_back(static_cast<int>(threads));
        at = end;
      }
    } else if (const char* filter = value("--filter=")) {
      options.filter = filter;
    } else if (const char* seconds = value("--min-time=")) {
      options.minTime = std::atof(seconds);
    } else if (const char* file = value("--json=")) {
      options.json = file;
    } else if (arg == "--quick") {
      options.quick = true;
    } else {
      options.rest.push_back(argv[i]);
    }
  }
  const int all = static_cast<int>(std::thread::hardware_concurrency());
  if (options.threads.empty()) {
    if (!options.quick || all < 2) options.threads.push_back(1);
    if (all > 1) options.threads.push_back(options.quick ? 2 : all);
  }
  if (options.quick) {
    options.minTime = 1e-4;
    options.repetitions = 2;
    setRoofTime(1e-4);
  }
  return options;
}

void writeJson(const Options& options, const std::vector<Row>& rows) {
  if (options.json.empty()) return;
  std::FILE* file = std::fopen(options.json.c_str(), "w");
  if (!file) {
    std::fprintf(stderr, "Expected --json=FILE to name a file that can be written, got %s\n", options.json.c_str());
    std::exit(2);
  }
  std::unique_ptr<Backend> backend;
  DeviceInfo info;
  must(openCpu({1, "", -1}, &backend, &info));
  char date[32];
  const std::time_t now = std::time(nullptr);
  std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
#if defined(__clang__)
  const std::string compiler = __VERSION__;  // begins with the compiler's name
#else
  const std::string compiler = std::string("GCC ") + __VERSION__;
#endif
#if defined(HEBB_GOOGLE_BENCHMARK)
  const char* timer = "Google Benchmark";
#else
  const char* timer = "own loop";
#endif
  std::fprintf(file,
               "{\n\"date\": %s, \"processor\": %s, \"cores\": %u, \"simd\": %s, \"compiler\": %s, \"timer\": %s, "
               "\"quick\": %s,\n\"rates\": [",
               quoted(date).c_str(), quoted(info.name).c_str(), std::thread::hardware_concurrency(),
               quoted(info.simd).c_str(), quoted(compiler).c_str(), quoted(timer).c_str(),
               options.quick ? "true" : "false");
  const char* separator = "\n";
  for (const MeasuredRate& m : measuredRates()) {
    std::fprintf(file, "%s{\"what\": %s, \"bytes\": %.0f, \"threads\": %d, \"rate\": %.6g, \"unit\": %s}", separator,
                 quoted(m.what).c_str(), m.bytes, m.threads, m.rate, quoted(m.unit).c_str());
    separator = ",\n";
  }
  std::fprintf(file, "],\n\"rows\": [");
  writeRows(file, rows);
  std::fprintf(file, "]\n}\n");
  if (std::fclose(file) != 0) {
    std::fprintf(stderr, "Could not write %s\n", options.json.c_str());
    std::exit(1);
  }
}

namespace {

/// The prepared data of the case that is running.
const Work& workOf(const Case& one) {
  static const Case* current = nullptr;
  static Work work;
  if (current != &one) {
    work = {};  // frees the last case's data first
    work = one.prepare();
    if (work.before) work.before();
    work.call();
    current = &one;
  }
  return work;
}

/// `seconds` a call, one for each repetition.
Row rowOf(const Case& one, const Work& work, std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  return {one.name(),
          one.operation,
          one.shape,
          work.item,
          work.items,
          work.flop,
          work.traffic.moved(),
          std::move(seconds),
          roofline(work.flop, work.traffic, one.shape.threads)};
}

double secondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

#if defined(HEBB_GOOGLE_BENCHMARK)

class Rows : public benchmark::BenchmarkReporter {
 public:
  explicit Rows(const std::vector<Case>& cases) : cases_(cases) {}
  std::vector<Row> rows;

  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    std::vector<double> seconds;
    for (const Run& run : runs) {
      if (run.run_type == Run::RT_Iteration)
        seconds.push_back(run.GetAdjustedRealTime() / benchmark::GetTimeUnitMultiplier(run.time_unit));
    }
    if (seconds.empty()) return;
    // Google Benchmark appends its own settings to the name.
    for (const Case& one : cases_) {
      if (runs[0].run_name.function_name != one.name()) continue;
      rows.push_back(rowOf(one, workOf(one), seconds));
      printRow(rows.back());
    }
  }

 private:
  const std::vector<Case>& cases_;
};

}  // namespace

std::vector<Row> runAll(const std::vector<Case>& cases, const Options& options) {
  std::vector<char*> given = options.rest;
  int count = static_cast<int>(given.size());
  benchmark::Initialize(&count, given.data());
  if (benchmark::ReportUnrecognizedArguments(count, given.data())) std::exit(2);
  for (const Case& one : cases) {
    benchmark::RegisterBenchmark(one.name().c_str(),
                                 [&one](benchmark::State& state) {
      const Work& work = workOf(one);
      for (auto _ : state) {
        if (work.before) work.before();
        const auto start = std::chrono::steady_clock::now();
        work.call();
        state.SetIterationTime(secondsSince(start));
      }
    })
        ->UseManualTime()
        ->MinTime(options.minTime)
        ->Repetitions(options.repetitions);
  }
  printHead();
  Rows rows(cases);
  if (benchmark::GetBenchmarkFilter().empty()) benchmark::RunSpecifiedBenchmarks(&rows, options.filter);
  else benchmark::RunSpecifiedBenchmarks(&rows);
  writeJson(options, rows.rows);
  return std::move(rows.rows);
}

#else

double secondsOf(const Work& work, long calls) {
  double seconds = 0;
  for (long i = 0; i < calls; ++i) {
    if (work.before) work.before();
    const auto start = std::chrono::steady_clock::now();
    work.call();
    seconds += secondsSince(start);
  }
  return seconds;
}

}  // namespace

std::vector<Row> runAll(const std::vector<Case>& cases, const Options& options) {
  if (options.rest.size() > 1) {
    std::fprintf(stderr, "Expected --threads=, --filter=, --min-time=, --json= or --quick, got %s\n", options.rest[1]);
    std::exit(2);
  }
  const std::regex filter(options.filter);
  printHead();
  std::vector<Row> rows;
  for (const Case& one : cases) {
    if (!std::regex_search(one.name(), filter)) continue;
    const Work& work = workOf(one);
    long calls = 1;
    while (secondsOf(work, calls) < options.minTime && calls < 1L << 40) calls *= 2;
    std::vector<double> seconds;
    for (int i = 0; i < options.repetitions; ++i)
      seconds.push_back(secondsOf(work, calls) / static_cast<double>(calls));
    rows.push_back(rowOf(one, work, seconds));
    printRow(rows.back());
  }
  writeJson(options, rows);
  return rows;
}

#endif

}  // namespace hebb::bench
