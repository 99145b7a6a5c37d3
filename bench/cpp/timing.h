// Times calls and prints one row a case: median, least and largest time of 5 repetitions, what the median means for an
// item, and how much of it the roofline explains (roofline.h). Google Benchmark does the timing where it is installed;
// without it, the loop in timing.cc.
//   --threads=1,2    thread counts (default: 1 and all)
//   --filter=REGEX   cases to run
//   --min-time=0.05  seconds a repetition runs at least
//   --json=FILE      all rows and all measured rates, for programs
//   --quick          a few small cases, hardly timed: shows that everything runs
#pragma once

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "hebb/backend.h"
#include "roofline.h"

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

  std::string name() const;
};

struct Options {
  std::vector<int> threads;
  std::string filter = ".", json;
  double minTime = 0.05;
  int repetitions = kRepetitions;
  bool quick = false;
  std::vector<char*> rest;  // for Google Benchmark
};

/// Reads the program's flags; ends it for one that is wrong.
Options parse(int argc, char** argv);

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

std::string quoted(const std::string& text);
/// The rows as the elements of a JSON array.
void writeRows(std::FILE* file, const std::vector<Row>& rows);
/// Writes rows and rates as one object to the file that is asked for; what they were measured on comes first.
void writeJson(const Options& options, const std::vector<Row>& rows);
void printHead();
void printRow(const Row& row);

/// Times all cases that the filter takes, prints their rows and writes them.
std::vector<Row> runAll(const std::vector<Case>& cases, const Options& options);

}  // namespace hebb::bench
