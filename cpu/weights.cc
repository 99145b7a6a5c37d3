// values = deviation * a normal variate of the link's own row and column, so that the order of drawing changes nothing.
// A sparse layer is divided among threads by columns, a dense one by rows.
#include "hebb/weights.h"

#include "cpu.h"

namespace hebb::cpu {

Status initializeNormal(Backend& backend, const InitializeNormal& op) {
  Cpu& cpu = cpuOf(backend);
  const Csr& w = op.pattern;
  const uint32_t purpose = purposeWord(Purpose::weights, static_cast<uint32_t>(op.layer));
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
        op.values[k] = static_cast<float>(
            op.deviation * normalAt(op.seed, static_cast<uint32_t>(row), static_cast<uint32_t>(column), purpose));
      }
    }
  });
  return {};
}

}  // namespace hebb::cpu
