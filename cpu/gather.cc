// Picks a batch: samples are rows in the data set and columns in an activation, so this is a transposition. Bytes are transposed sixteen by
// sixteen in registers and converted on the way out.
#include "hebb/gather.h"

#include "cpu.h"
#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

/// Turns sixteen rows of sixteen bytes into columns: four rounds of the perfect shuffle.
HEBB_INLINE void transposeBytes(Bytes16 (&rows)[16]) {
  for (int round = 0; round < 4; ++round) {
    Bytes16 next[16];
    for (int i = 0; i < 8; ++i) {
      next[2 * i] = HEBB_SHUFFLE(rows[i], rows[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      next[2 * i + 1] = HEBB_SHUFFLE(rows[i], rows[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    }
    for (int i = 0; i < 16; ++i) rows[i] = next[i];
  }
}

HEBB_INLINE Vec bytesToFloats(const uint8_t* bytes) {
  typedef uint8_t Bytes __attribute__((vector_size(W)));
  typedef uint8_t BytesInMemory __attribute__((vector_size(W), aligned(1), may_alias));
  const Bytes b = *reinterpret_cast<const BytesInMemory*>(bytes);
  return __builtin_convertvector(__builtin_convertvector(b, IntVec), Vec);
}

/// Whether the batch's indices are samples: they lie in memory that anyone may write.
Status checkIndices(const int32_t* indices, const StepState& state, int64_t samples) {
  for (int64_t i = state.offset; i < state.offset + state.columns; ++i) {
    if (indices[i] >= 0 && indices[i] < samples) continue;
    return {Code::invalidArgument, "Expected indices in [0, " + std::to_string(samples) + "), got " + std::to_string(indices[i]) + " at " + std::to_string(i)};
  }
  return {};
}

}  // namespace

Status gather(Backend& backend, const Gather& op) {
  HEBB_RETURN_IF_ERROR(checkIndices(op.indices, *op.state, op.samples));
  Cpu& cpu = cpuOf(backend);
  const Activations& out = op.output;
  const StepState& state = *op.state;
  const int32_t features = out.features, blocks = (features + 15) / 16, groups = (state.columns + 15) / 16;
  const Vec scale = splat(op.scale), shift = splat(op.shift);
  const int64_t chunks = std::min<int64_t>(blocks, chunksFor(cpu, int64_t{blocks} * groups, 8));
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    const int32_t first = static_cast<int32_t>(blocks * chunk / chunks), last = static_cast<int32_t>(blocks * (chunk + 1) / chunks);
    for (int32_t group = 0; group < groups; ++group) {
      const int32_t column = group * 16, valid = std::min(16, state.columns - column);
      float* data = panelData(out, column / out.panel) + column % out.panel;
      int64_t sample[16];
      for (int s = 0; s < valid; ++s) sample[s] = int64_t{op.indices[state.offset + column + s]} * features;
      for (int32_t block = first; block < last; ++block) {
        const int32_t f0 = block * 16, count = std::min(16, features - f0);
        if (op.bytes && count == 16) {
          Bytes16 rows[16] = {};
          for (int s = 0; s < valid; ++s) rows[s] = *reinterpret_cast<const Bytes16InMemory*>(op.bytes + sample[s] + f0);
          transposeBytes(rows);
          for (int f = 0; f < 16; ++f) {
            alignas(16) uint8_t bytes[16];
            *reinterpret_cast<Bytes16InMemory*>(bytes) = rows[f];
            float* to = data + static_cast<int64_t>(f0 + f) * out.panel;
            for (int c = 0; c < 16; c += W) store(to + c, mulAdd(bytesToFloats(bytes + c), scale, shift));
            for (int c = valid; c < 16; ++c) to[c] = 0;
          }
        } else {
          for (int f = f0; f < f0 + count; ++f) {
            float* to = data + static_cast<int64_t>(f) * out.panel;
            for (int s = 0; s < valid; ++s) {
              const float value = op.bytes ? static_cast<float>(op.bytes[sample[s] + f]) : op.floats[sample[s] + f];
              to[s] = mulAdd(splat(value), scale, shift)[0];
            }
            for (int c = valid; c < 16; ++c) to[c] = 0;
          }
        }
      }
    }
  });
  return {};
}

Status gatherLabels(Backend&, const GatherLabels& op) {
  HEBB_RETURN_IF_ERROR(checkIndices(op.indices, *op.state, op.samples));
  for (int32_t c = 0; c < op.state->columns; ++c) op.targets[c] = op.labels[op.indices[op.state->offset + c]];
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
