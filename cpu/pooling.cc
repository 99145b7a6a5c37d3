// Pooling, kPooledStrip features and then a sequence at a time: the columns of a sequence lie side by side in a panel's
// rows, and the sums of several features do not wait for each other. Nobody else writes a feature, so nothing depends
// on the threads. Bound by the conversion to double precision: a number a cycle or so.
#include "hebb/pooling.h"

#include <algorithm>
#include <type_traits>

#include "cpu.h"
#include "offsets.h"

namespace hebb::cpu {
namespace {

constexpr int kPooledStrip = 8;  // features

float* addressOf(const Activations& a, int32_t feature, int32_t column) {
  return panelData(a, column / a.panel) + int64_t{feature} * a.panel + column % a.panel;
}

/// Calls body(address, length) for the parts of columns [begin, end) that lie in one panel; the address is the
/// feature's.
template <class Body>
void eachPiece(const Activations& a, int32_t feature, int32_t begin, int32_t end, const Body& body) {
  for (int32_t c = begin; c < end;) {
    const int32_t length = std::min(end - c, a.panel - c % a.panel);
    body(addressOf(a, feature, c), length);
    c += length;
  }
}

/// What lies behind the valid columns is finite, and of gradients 0.
void clearSpare(const Activations& a, int32_t feature, int32_t features) {
  const int32_t columns = a.columns();
  if (columns % 16 == 0) return;
  for (int32_t f = feature; f < feature + features; ++f) std::fill_n(addressOf(a, f, columns), 16 - columns % 16, 0.f);
}

/// Calls body(integral constant N, feature) for strips of N features, shared out by the work that `columns` make.
template <class Body>
void eachStrip(Cpu& cpu, int32_t features, int32_t columns, const Body& body) {
  const int32_t strips = (features + kPooledStrip - 1) / kPooledStrip;
  const int64_t chunks = std::min<int64_t>(strips, chunksFor(cpu, int64_t{features} * columns, 16384));
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    for (int64_t s = strips * chunk / chunks, end = strips * (chunk + 1) / chunks; s < end; ++s) {
      int32_t f = static_cast<int32_t>(s) * kPooledStrip;
      if (f + kPooledStrip <= features) body(std::integral_constant<int, kPooledStrip>{}, f);
      else
        for (; f < features; ++f) body(std::integral_constant<int, 1>{}, f);
    }
  });
}

/// N features of the output, from f on.
template <int N>
void pool(const Pooling& op, int32_t f) {
  const int64_t panel = op.input.panel;
  for (int32_t s = 0; s < op.output.columns(); ++s) {
    const int32_t begin = op.offsets[s], end = op.offsets[s + 1];
    float result[N] = {};
    double sum[N] = {};
    for (int i = 0; begin < end && i < N; ++i) result[i] = *addressOf(op.input, f + i, begin);
    if (op.kind == PoolingKind::mean) {
      eachPiece(op.input, f, begin, end, [&](const float* x, int32_t length) {
        for (int32_t c = 0; c < length; ++c) {
          for (int i = 0; i < N; ++i) sum[i] += x[i * panel + c];
        }
      });
      for (int i = 0; begin < end && i < N; ++i) result[i] = static_cast<float>(sum[i] / (end - begin));
    } else if (op.kind == PoolingKind::max) {
      eachPiece(op.input, f, begin, end, [&](const float* x, int32_t length) {
        for (int32_t c = 0; c < length; ++c) {
          for (int i = 0; i < N; ++i) {
            const float v = x[i * panel + c];
            result[i] = v > result[i] || v != v ? v : result[i];
          }
        }
      });
    }
    float* const to = addressOf(op.output, f, s);
    for (int i = 0; i < N; ++i) to[int64_t{i} * op.output.panel] = result[i];
  }
  clearSpare(op.output, f, N);
}

/// What the gradients of N features of sequence s give those of its columns: the same to each, or all of it to one.
template <int N>
void spread(const PoolingGradient& op, int32_t f, int32_t s) {
  const int32_t begin = op.offsets[s], end = op.offsets[s + 1];
  if (begin == end) return;
  const bool isMean = op.kind == PoolingKind::mean;
  float gradient[N];
  int32_t only[N];
  for (int i = 0; i < N; ++i) {
    gradient[i] = *addressOf(op.outputGradient, f + i, s);
    if (isMean) gradient[i] /= static_cast<float>(end - begin);
    only[i] = begin;
    if (op.kind != PoolingKind::max) continue;
    const float top = *addressOf(op.output, f + i, s);
    while (only[i] < end && *addressOf(op.input, f + i, only[i]) != top) ++only[i];
  }
  eachPiece(op.inputGradient, f, begin, end, [&](float* to, int32_t length) {
    for (int i = 0; i < N; ++i) {
      float* const dx = to + int64_t{i} * op.inputGradient.panel;
      const float each = isMean ? gradient[i] : 0.f;
      if (op.accumulate) {
        for (int32_t c = 0; c < length; ++c) dx[c] += each;
      } else {
        std::fill_n(dx, length, each);
      }
    }
  });
  for (int i = 0; !isMean && i < N; ++i) {
    if (only[i] == end) continue;  // of a NaN
    float* const dx = addressOf(op.inputGradient, f + i, only[i]);
    *dx = op.accumulate ? *dx + gradient[i] : gradient[i];
  }
}

}  // namespace

Status pooling(Backend& backend, const Pooling& op) {
  const int32_t columns = op.input.columns();
  HEBB_RETURN_IF_ERROR(checkOffsets("offsets", op.offsets, op.output.columns(), columns));
  eachStrip(cpuOf(backend), op.output.features, columns,
            [&](auto several, int32_t f) { pool<decltype(several)::value>(op, f); });
  return {};
}

Status poolingGradient(Backend& backend, const PoolingGradient& op) {
  const int32_t sequences = op.outputGradient.columns(), columns = op.inputGradient.columns();
  HEBB_RETURN_IF_ERROR(checkOffsets("offsets", op.offsets, sequences, columns));
  eachStrip(cpuOf(backend), op.outputGradient.features, columns, [&](auto several, int32_t f) {
    constexpr int N = decltype(several)::value;
    for (int32_t s = 0; s < sequences; ++s) spread<N>(op, f, s);
    clearSpare(op.inputGradient, f, N);
  });
  return {};
}

}  // namespace hebb::cpu
