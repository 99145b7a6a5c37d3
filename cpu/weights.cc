#include "hebb/weights.h"

#include <cmath>

#include "cpu.h"
#include "hebb/logarithm.h"

namespace hebb::cpu {
namespace {

/// A standard normal variate of the place (row, column), by Marsaglia's polar method. Only exactly rounded operations and our own logarithm: the same
/// bits on every machine. The third counter word counts the attempts (1.27 on average).
double normalAt(uint64_t seed, uint32_t row, uint32_t column, uint32_t purpose) {
  for (uint32_t attempt = 0;; ++attempt) {
    const Philox p = philox(seed, row, column, attempt, purpose);
    const double u = 2 * unitInterval(p.word[0], p.word[1]) - 1, v = 2 * unitInterval(p.word[2], p.word[3]) - 1;
    const double s = u * u + v * v;
    if (s >= 1 || s < 1e-30) continue;
    const double log = static_cast<double>(log2Exact(static_cast<float>(s))) * 0.69314718055994531;
    // The float of an s just below 1 may be 1 itself, whose logarithm is 0.
    return u * std::sqrt(-2 * log / s);
  }
}

}  // namespace

Status initializeNormal(Backend& backend, const InitializeNormal& op) {
  Cpu& cpu = cpuOf(backend);
  const Csr& w = op.pattern;
  const uint32_t purpose = purposeWord(Purpose::weights, static_cast<uint32_t>(op.layer));
  const bool sparse = w.columnOffsets != nullptr;
  const int64_t total = sparse ? w.columnOffsets[w.cols] : int64_t{w.rows} * w.cols, parts = sparse ? w.cols : w.rows;
  const int64_t chunks = chunksFor(cpu, total, 512);
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    for (int64_t i = parts * chunk / chunks; i < parts * (chunk + 1) / chunks; ++i) {  // a sparse layer's columns, a dense one's rows
      const int64_t begin = sparse ? w.columnOffsets[i] : i * w.cols, end = sparse ? w.columnOffsets[i + 1] : begin + w.cols;
      for (int64_t k = begin; k < end; ++k) {
        const int64_t row = sparse ? w.rowIndices[k] : i, column = sparse ? i : k - begin;
        op.values[k] = static_cast<float>(op.deviation * normalAt(op.seed, static_cast<uint32_t>(row), static_cast<uint32_t>(column), purpose));
      }
    }
  });
  return {};
}

}  // namespace hebb::cpu
