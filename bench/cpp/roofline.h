// The roofline of an operation: the least time that this machine could take for what the operation moves and computes,
// as measured in the same run.
//
//   roofline = max( flop / multiply-add rate,  draws / Philox rate,  scattered additions / rate of such additions,
//                   loads / bandwidth of L1,
//                   bytes of rows, and of whole cache lines for single values, fetched one by one
//                     / bandwidth of such fetches from where they lie,
//                   bytes of arrays passed over once / bandwidth of such passes where the arrays lie )
//
// Every rate is measured once a process, when a case first needs it: with the vectors of the level that the device
// uses, with the same number of threads, all of them busy at once. Where data lies is not guessed: a rate is measured
// on a working set of the size that the operation has, so it is the rate of L1, L2, L3 or memory, or something between
// two of them. The names of the levels in the output come from the sizes that the system reports.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hebb::bench {

/// Rows fetched one by one, `degree` of them ascending and then from the beginning again, as the links of one neuron
/// after the other ask for them. All threads fetch from the same rows.
struct Fetch {
  double bytes = 0;      // in all
  int32_t features = 0;  // rows there are
  int32_t rowBytes = 0;  // a multiple of 4
  double degree = 1;
};

/// What an operation moves, in bytes.
struct Traffic {
  double read = 0, write = 0, update = 0;  // arrays passed over once; an update reads a place and writes it
  Fetch fetch = {};
  Fetch lines = {};      // cache lines fetched one by one for a few bytes of each, beside the rows
  double loads = 0;      // what registers load; 0: read + update + fetched
  double draws = 0;      // Philox blocks, not bytes
  double scattered = 0;  // additions at places that an index tells, not bytes

  double loaded() const { return loads > 0 ? loads : read + update + fetch.bytes; }
  double moved() const { return loaded() + write + update; }  // between registers and L1
};

struct Roof {
  double seconds = 0;
  std::string bound;  // what takes that long: "flop", "rows from L2", "arrays in memory", ...
};

/// The roofline of a call with `threads` threads.
Roof roofline(double flop, const Traffic& traffic, int threads);

/// Bandwidth in bytes a second, of all threads together.
enum class Pass {
  read,
  write,
  copy,
  update
};  // a copy's bytes are those read and those written, an update's those read alone
double passRate(Pass pass, double bytes, int threads);  // `bytes` in all, a thread its part
double fetchRate(int32_t features, int32_t rowBytes, double degree, int threads);
/// Floating-point operations a second, a multiply-add being two.
double flopRate(int threads);
/// Philox blocks of four words a second.
double drawRate(int threads);

/// Additions a second, each at a place in L1 that an index tells, ascending: what no vector does.
double scatterRate(int threads);

/// Seconds that a rate is measured for, at least; several times, of which the best counts.
void setRoofTime(double seconds);

/// Every rate that this process has measured.
struct MeasuredRate {
  std::string what, unit;
  double bytes = 0;  // the working set, 0 without one
  int threads = 1;
  double rate = 0;  // in `unit`
};
const std::vector<MeasuredRate>& measuredRates();

/// "L1", "L2", "L3" or "memory": the first that holds so many bytes, by what the system says of its first processor.
std::string levelOf(double bytes);

}  // namespace hebb::bench
