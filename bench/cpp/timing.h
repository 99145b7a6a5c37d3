// Times calls and prints one row a case: median, least and largest time of 5 repetitions, what the median means for an
// item, and how much of it the roofline explains (roofline.h). Google Benchmark does the timing where it is installed;
// without it, the loop at the end of this file.
//   --threads=1,2    thread counts (default: 1 and all)
//   --filter=REGEX   cases to run
//   --min-time=0.05  seconds a repetition runs at least
//   --json=FILE      all rows and all measured rates, for programs
//   --quick          a few small cases, hardly timed: shows that everything runs
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "hebb/backend.h"
#include "roofline.h"

#if defined(HEBB_GOOGLE_BENCHMARK)
#include <benchmark/benchmark.h>
#else
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

/// One call, and what it does.
struct Work {
  std::function<void()> call;
  const char* item = "link";
  double items = 0;
  double flop = 0;
  Traffic traffic;
  std::function<void()> before = nullptr;  // puts back what a call changed; not timed
};

/// What a case is about; 0 where it has no such thing, as a GPU has no threads that are ours to choose.
struct Shape {
  int32_t rows = 0, cols = 0;
  double density = 0;
  int32_t batch = 0;
  int threads = 1;
};

/// A case makes its data when its turn comes; they are freed when the next one's does.
struct Case {
  std::string operation;
  Shape shape;
  std::function<Work()> prepare;

  std::string name() const {
    std::string text = operation;
    const auto add = [&](const char* format, auto... numbers) {
      char part[48];
      std::snprintf(part, sizeof part, format, numbers...);
      text += part;
    };
    if (shape.cols) add("/%dx%d", shape.cols, shape.rows);
    else if (shape.rows) add("/%d", shape.rows);
    if (shape.density > 0) add("/%g%%", 100 * shape.density);
    if (shape.batch) add("/batch:%d", shape.batch);
    if (shape.threads) add("/threads:%d", shape.threads);
    return text;
  }
};

struct Options {
  std::vector<int> threads;
  std::string filter = ".", json;
  double minTime = 0.05;
  int repetitions = kRepetitions;
  bool quick = false;
  std::vector<char*> rest;  // for Google Benchmark
};

inline Options parse(int argc, char** argv) {
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

/// A measured case.
struct Row {
  std::string name, operation;
  Shape shape;
  const char* item = "link";
  double items = 0, flop = 0, bytes = 0;  // bytes between registers and L1
  std::vector<double> seconds;            // a call, of each repetition, ascending
  Roof roof;

  double median() const { return seconds[seconds.size() / 2]; }
  double least() const { return seconds.front(); }
};

inline std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (static_cast<unsigned char>(c) >= 32) result += c;
  }
  return result + "\"";
}

/// The rows as the elements of a JSON array.
inline void writeRows(std::FILE* file, const std::vector<Row>& rows) {
  const char* separator = "\n";
  for (const Row& row : rows) {
    const double median = row.median();
    std::fprintf(file, "%s{\"name\": %s, \"operation\": %s", separator, quoted(row.name).c_str(),
                 quoted(row.operation).c_str());
    const auto number = [&](const char* key, double value) {
      if (value > 0) std::fprintf(file, ", \"%s\": %.6g", key, value);
    };
    number("rows", row.shape.rows);
    number("cols", row.shape.cols);
    number("density", row.shape.density);
    number("batch", row.shape.batch);
    number("threads", row.shape.threads);
    std::fprintf(file, ", \"item\": %s", quoted(row.item).c_str());
    number("items", row.items);
    number("medianSeconds", median);
    number("minSeconds", row.least());
    number("maxSeconds", row.seconds.back());
    number("nsPerItem", row.items > 0 ? median * 1e9 / row.items : 0);
    number("gflops", row.flop / median * 1e-9);
    number("gbps", row.bytes / median * 1e-9);
    number("rooflineSeconds", row.roof.seconds);
    number("rooflineShare", row.roof.seconds / median);
    if (!row.roof.bound.empty()) std::fprintf(file, ", \"bound\": %s", quoted(row.roof.bound).c_str());
    std::fprintf(file, "}");
    separator = ",\n";
  }
}

/// Writes rows and rates as one object; what they were measured on comes first.
inline void writeJson(const Options& options, const std::vector<Row>& rows) {
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

inline void printHead() {
  std::printf("%-52s %11s %11s %11s %9s %-7s %8s %8s %11s %6s %s\n", "case", "median us", "min us", "max us", "ns/item",
              "item", "GFLOP/s", "GB/s", "roofline us", "share", "bound");
}

inline void printRow(const Row& row) {
  const double median = row.median();
  const auto number = [](double value, const char* format) {
    char text[32] = "-";
    if (value > 0) std::snprintf(text, sizeof text, format, value);
    return std::string(text);
  };
  std::printf("%-52s %11.2f %11.2f %11.2f %9s %-7s %8s %8s %11s %6s %s\n", row.name.c_str(), median * 1e6,
              row.least() * 1e6, row.seconds.back() * 1e6,
              number(row.items > 0 ? median * 1e9 / row.items : 0, "%.3f").c_str(), row.item,
              number(row.flop / median * 1e-9, "%.1f").c_str(), number(row.bytes / median * 1e-9, "%.1f").c_str(),
              number(row.roof.seconds * 1e6, "%.2f").c_str(), number(100 * row.roof.seconds / median, "%.0f%%").c_str(),
              row.roof.bound.c_str());
  std::fflush(stdout);
}

/// The prepared data of the case that is running.
inline const Work& workOf(const Case& one) {
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
inline Row rowOf(const Case& one, const Work& work, std::vector<double> seconds) {
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

inline double secondsSince(std::chrono::steady_clock::time_point start) {
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

inline std::vector<Row> runAll(const std::vector<Case>& cases, Options options) {
  int count = static_cast<int>(options.rest.size());
  benchmark::Initialize(&count, options.rest.data());
  if (benchmark::ReportUnrecognizedArguments(count, options.rest.data())) std::exit(2);
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

inline double secondsOf(const Work& work, long calls) {
  double seconds = 0;
  for (long i = 0; i < calls; ++i) {
    if (work.before) work.before();
    const auto start = std::chrono::steady_clock::now();
    work.call();
    seconds += secondsSince(start);
  }
  return seconds;
}

inline std::vector<Row> runAll(const std::vector<Case>& cases, Options options) {
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
