// Each weight is a variate of the link's own row and column, so that the order of drawing changes nothing.
// A sparse layer is divided among threads by columns, a dense one by rows.
#include "hebb/weights.h"

#include "cpu.h"

namespace hebb::cpu {

template <class Op>
static Status initialize(Cpu& cpu, const Op& op) {
  const Csr& w = op.weights.pattern;
  const bool sparse = w.columnOffsets != nullptr;
  const int64_t total = sparse ? w.columnOffsets[w.cols] : int64_t{w.rows} * w.cols, parts = sparse ? w.cols : w.rows;
  const int64_t chunks = chunksFor(cpu, total, 512);
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    // A sparse layer's columns, a dense one's rows.
    for (int64_t i = parts * chunk / chunks; i < parts * (chunk + 1) / chunks; ++i) {
      const int64_t begin = sparse ? w.columnOffsets[i] : i * w.cols,
                    end = sparse ? w.columnOffsets[i + 1] : begin + w.cols;
      for (int64_t k = begin; k < end; ++k) {
        const int64_t row = sparse ? w.rowIndices[k] : i, column = sparse ? i : k - begin;
        op.weights.values[k] = weightAt(op, row, column);
      }
    }
  });
  return {};
}

Status initializeNormal(Backend& backend, const InitializeNormal& op) { return initialize(cpuOf(backend), op); }

Status initializeUniform(Backend& backend, const InitializeUniform& op) { return initialize(cpuOf(backend), op); }

}  // namespace hebb::cpu
