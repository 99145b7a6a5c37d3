// Scores of the kept links: |w|, relative importance, or |w| with a share of the gradient. A thread takes whole rows
// and whole columns, so that a sum has one order on any number of threads.
#include "hebb/importance.h"

#include <cmath>

#include "cpu.h"
#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {

Status importance(Backend& backend, const Importance& op) {
  Cpu& cpu = cpuOf(backend);
  const Csr& w = op.links;
  Scratch<float> rowSums(backend);
  const bool relative = op.rule == ImportanceRule::relative;
  if (relative) {
    HEBB_RETURN_IF_ERROR(rowSums.allocate(w.rows));
    const int64_t chunks = chunksFor(cpu, w.rowOffsets[w.rows], 16384);
    cpu.team.parallel(chunks, [&](int64_t chunk, int) {
      for (int32_t r = firstRow(w.rowOffsets, w.rows, chunk, chunks),
                   end = firstRow(w.rowOffsets, w.rows, chunk + 1, chunks);
           r < end; ++r) {
        float sum = 0;
        for (int32_t k = w.rowOffsets[r]; k < w.rowOffsets[r + 1]; ++k) {
          if (op.keep[w.cscSlots[k]]) sum += std::fabs(op.values[w.cscSlots[k]]);
        }
        rowSums[r] = sum;
      }
    });
  }
  const int64_t chunks = chunksFor(cpu, w.columnOffsets[w.cols], 16384);
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    for (int32_t c = firstRow(w.columnOffsets, w.cols, chunk, chunks),
                 last = firstRow(w.columnOffsets, w.cols, chunk + 1, chunks);
         c < last; ++c) {
      const int32_t begin = w.columnOffsets[c], end = w.columnOffsets[c + 1];
      float columnSum = 0;
      for (int32_t k = begin; relative && k < end; ++k) {
        if (op.keep[k]) columnSum += std::fabs(op.values[k]);
      }
      for (int32_t k = begin; k < end; ++k) {
        if (!op.keep[k]) continue;
        const float size = std::fabs(op.values[k]);
        if (op.rule == ImportanceRule::gradient) {
          op.scores[k] = size + op.share * std::fabs(op.gradient[k]);
          continue;
        }
        // A sum is zero only when the weight is: its share of nothing is nothing.
        op.scores[k] = !relative || size == 0 ? size : size / columnSum + size / rowSums[w.rowIndices[k]];
      }
    }
  });
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
