// Picks a batch: samples are rows in the data set and columns in an activation, so this is a transposition. Bytes are
// transposed sixteen by sixteen in registers and converted on the way out.
#include "hebb/gather.h"

#include "cpu.h"
#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

/// Transposes sixteen rows of sixteen bytes: four rounds of the perfect shuffle.
HEBB_INLINE void transposeBytes(Bytes16 (&rows)[16]) {
  for (int round = 0; round < 4; ++round) {
    Bytes16 next[16];
    for (int i = 0; i < 8; ++i) {
      next[2 * i] = HEBB_SHUFFLE(rows[i], rows[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      next[2 * i + 1] =
          HEBB_SHUFFLE(rows[i], rows[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
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

/// Features [first, first + count) of an image after its cut.
template <class Number>
HEBB_INLINE void cutFeatures(const Number* image, const Augmentation& a, const Cut& cut, int32_t first, int32_t count,
                             Number* to) {
  int32_t x = first % a.width, y = first / a.width % a.height;
  const Number* plane = image + int64_t{first / (a.width * a.height)} * a.width * a.height;
  // The row that is read, none where it is the frame's.
  const auto rowAt = [&] {
    return y + cut.down >= 0 && y + cut.down < a.height ? plane + int64_t{y + cut.down} * a.width : nullptr;
  };
  const Number* row = rowAt();
  for (int32_t i = 0; i < count; ++i) {
    const int32_t column = (cut.flip ? a.width - 1 - x : x) + cut.right;
    to[i] = row && column >= 0 && column < a.width ? row[column] : Number{0};
    if (++x < a.width || i + 1 == count) continue;
    x = 0;
    if (++y == a.height) {
      y = 0;
      plane += int64_t{a.width} * a.height;
    }
    row = rowAt();
  }
}

/// Whether the indices from `first` on are samples: they lie in memory that anyone may write.
Status checkIndices(const int32_t* indices, int64_t first, int32_t columns, int64_t samples) {
  for (int64_t i = first; i < first + columns; ++i) {
    if (indices[i] >= 0 && indices[i] < samples) continue;
    return {Code::invalidArgument, "Expected indices in [0, " + std::to_string(samples) + "), got " +
                                       std::to_string(indices[i]) + " at " + std::to_string(i)};
  }
  return {};
}

/// One number of each sample of the whole batch.
template <class Op, class Number>
Status pick(const Op& op, const Number* ofSamples, Number* ofColumns) {
  const StepState& state = *op.state;
  HEBB_RETURN_IF_ERROR(checkIndices(op.indices, state.offset, state.axis.columns, op.samples));
  for (int32_t c = 0; c < state.axis.columns; ++c) ofColumns[c] = ofSamples[op.indices[state.offset + c]];
  return {};
}

}  // namespace

Status gather(Backend& backend, const Gather& op) {
  Cpu& cpu = cpuOf(backend);
  const Activations& out = op.output;
  const int32_t columns = out.columns(), firstColumn = out.firstColumn();
  const int64_t offset = op.state->offset + firstColumn, step = op.state->step;
  HEBB_RETURN_IF_ERROR(checkIndices(op.indices, offset, columns, op.samples));
  const int32_t features = out.features, blocks = (features + 15) / 16, groups = (columns + 15) / 16;
  const Vec scale = splat(op.scale), shift = splat(op.shift);
  const int32_t plane = features / op.channels;
  const Augmentation& augmentation = op.augmentation;
  const bool cuts = augmentation.height > 0;
  const int64_t chunks = std::min<int64_t>(blocks, chunksFor(cpu, int64_t{blocks} * groups, 8));
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    const int32_t first = static_cast<int32_t>(blocks * chunk / chunks),
                  last = static_cast<int32_t>(blocks * (chunk + 1) / chunks);
    for (int32_t group = 0; group < groups; ++group) {
      const int32_t column = group * 16, valid = std::min(16, columns - column);
      float* data = panelData(out, column / out.panel) + column % out.panel;
      int64_t sample[16];
      Cut cut[16];
      for (int s = 0; s < valid; ++s) {
        sample[s] = int64_t{op.indices[offset + column + s]} * features;
        if (cuts) cut[s] = cutOf(augmentation, step, firstColumn + column + s);
      }
      for (int32_t block = first; block < last; ++block) {
        const int32_t f0 = block * 16, count = std::min(16, features - f0);
        if (op.bytes && count == 16) {
          Bytes16 rows[16] = {};
          for (int s = 0; s < valid; ++s) {
            alignas(16) uint8_t image[16];
            if (cuts) cutFeatures(op.bytes + sample[s], augmentation, cut[s], f0, 16, image);
            rows[s] = *reinterpret_cast<const Bytes16InMemory*>(cuts ? image : op.bytes + sample[s] + f0);
          }
          transposeBytes(rows);
          for (int f = 0; f < 16; ++f) {
            alignas(16) uint8_t bytes[16];
            *reinterpret_cast<Bytes16InMemory*>(bytes) = rows[f];
            float* to = data + static_cast<int64_t>(f0 + f) * out.panel;
            const Vec a = op.scales ? splat(op.scales[(f0 + f) / plane]) : scale,
                      b = op.scales ? splat(op.shifts[(f0 + f) / plane]) : shift;
            for (int c = 0; c < 16; c += W) store(to + c, mulAdd(bytesToFloats(bytes + c), a, b));
            for (int c = valid; c < 16; ++c) to[c] = 0;
          }
        } else {
          float values[16][16];
          for (int s = 0; s < valid; ++s) {
            if (!cuts) {
              for (int i = 0; i < count; ++i)
                values[s][i] =
                    op.bytes ? static_cast<float>(op.bytes[sample[s] + f0 + i]) : op.floats[sample[s] + f0 + i];
            } else if (op.bytes) {
              uint8_t image[16];
              cutFeatures(op.bytes + sample[s], augmentation, cut[s], f0, count, image);
              for (int i = 0; i < count; ++i) values[s][i] = static_cast<float>(image[i]);
            } else {
              cutFeatures(op.floats + sample[s], augmentation, cut[s], f0, count, values[s]);
            }
          }
          for (int f = f0; f < f0 + count; ++f) {
            float* to = data + static_cast<int64_t>(f) * out.panel;
            const Vec a = op.scales ? splat(op.scales[f / plane]) : scale,
                      b = op.scales ? splat(op.shifts[f / plane]) : shift;
            for (int s = 0; s < valid; ++s) to[s] = mulAdd(splat(values[s][f - f0]), a, b)[0];
            for (int c = valid; c < 16; ++c) to[c] = 0;
          }
        }
      }
    }
  });
  return {};
}

Status gatherLabels(Backend&, const GatherLabels& op) { return pick(op, op.labels, op.targets); }

Status gatherWeights(Backend&, const GatherWeights& op) { return pick(op, op.weights, op.columnWeights); }

}  // namespace hebb::cpu::HEBB_LEVEL
