// Each loop keeps one resource of a core busy and leaves the others idle: loads, stores, multiply-adds, Philox, or
// scattered additions. roofline.cc calls those of the best level that the processor runs.
#include "roofline_kernels.h"

#include "simd.h"

namespace hebb::bench::HEBB_LEVEL {
namespace {

using namespace hebb::cpu::HEBB_LEVEL;

HEBB_INLINE IntVec loadBits(const float* p) { return *reinterpret_cast<const IntVecInMemory*>(p); }
HEBB_INLINE void storeBits(float* p, IntVec v) { *reinterpret_cast<IntVecInMemory*>(p) = v; }
/// Keeps the compiler from making a loop of its own choice of these.
HEBB_INLINE void fence() { asm volatile("" ::: "memory"); }

template <int N>
HEBB_INLINE int32_t total(const IntVec (&sums)[N]) {
  IntVec all{};
  for (const IntVec& sum : sums) all += sum;
  int32_t result = 0;
  for (int i = 0; i < W; ++i) result += all[i];
  return result;
}

/// Rows of NV vectors, several of them in flight. Integers, so that nothing but the loads can be slow.
template <int NV>
int32_t fetchRows(const float* data, int64_t stride, const int32_t* order, int64_t rows) {
  constexpr int kTogether = 8 / NV;
  IntVec sums[8] = {};
  int64_t i = 0;
  for (; i + kTogether <= rows; i += kTogether) {
    for (int j = 0; j < kTogether; ++j) {
      const float* row = data + order[i + j] * stride;
      for (int v = 0; v < NV; ++v) sums[j * NV + v] += loadBits(row + v * W);
    }
  }
  return total(sums);
}

int32_t fetch(const float* data, int64_t stride, int32_t length, const int32_t* order, int64_t rows) {
  const int32_t vectors = length / W;
  if (vectors == 1) return fetchRows<1>(data, stride, order, rows);
  if (vectors == 2) return fetchRows<2>(data, stride, order, rows);
  if (vectors == 4) return fetchRows<4>(data, stride, order, rows);
  if (vectors == 8) return fetchRows<8>(data, stride, order, rows);
  IntVec sums[4] = {};
  for (int64_t i = 0; i < rows; ++i) {
    const float* row = data + order[i] * stride;
    int32_t v = 0;
    for (; v + 4 <= vectors; v += 4) {
      for (int j = 0; j < 4; ++j) sums[j] += loadBits(row + (v + j) * W);
    }
    for (; v < vectors; ++v) sums[0] += loadBits(row + v * W);
  }
  return total(sums);
}

int32_t read(const float* data, int64_t count) {
  IntVec sums[8] = {};
  for (int64_t i = 0; i + 8 * W <= count; i += 8 * W) {
    for (int v = 0; v < 8; ++v) sums[v] += loadBits(data + i + v * W);
  }
  return total(sums);
}

int32_t write(float* data, int64_t count) {
  for (int64_t i = 0; i + 8 * W <= count; i += 8 * W) {
    for (int v = 0; v < 8; ++v) storeBits(data + i + v * W, IntVec{});
    fence();
  }
  return 0;
}

int32_t copy(float* data, int64_t count) {
  const int64_t half = count / 2 / (8 * W) * (8 * W);
  for (int64_t i = 0; i < half; i += 8 * W) {
    for (int v = 0; v < 8; ++v) storeBits(data + half + i + v * W, loadBits(data + i + v * W));
    fence();
  }
  return 0;
}

int32_t update(float* data, int64_t count) {
  for (int64_t i = 0; i + 8 * W <= count; i += 8 * W) {
    for (int v = 0; v < 8; ++v) storeBits(data + i + v * W, loadBits(data + i + v * W) + 1);
    fence();
  }
  return 0;
}

int32_t multiplyAdd(int64_t rounds) {
  volatile float factor = 0.5f;
  const Vec a = splat(factor), b = splat(factor);
  Vec sums[kAccumulators];
  for (int i = 0; i < kAccumulators; ++i) sums[i] = splat(static_cast<float>(i));
  for (int64_t r = 0; r < rounds; ++r) {
    for (Vec& sum : sums) sum = mulAdd(sum, a, b);
  }
  float result = 0;
  for (const Vec& sum : sums) result += sum[0];
  return static_cast<int32_t>(result);
}

int32_t draw(int64_t rounds) {
  UintVec places, sum{};
  for (int i = 0; i < W; ++i) places[i] = static_cast<uint32_t>(i);
  for (int64_t r = 0; r < rounds; ++r) {
    UintVec words[4];
    philoxLanes(1, static_cast<uint32_t>(r) - UintVec{}, places, 0, 0, words);
    sum += words[0] ^ words[1];
  }
  return static_cast<int32_t>(sum[0]);
}

int32_t scatter(float* sums, const int32_t* places, int64_t count) {
  for (int64_t i = 0; i + 4 <= count; i += 4) {
    for (int j = 0; j < 4; ++j) sums[places[i + j]] += 1.f;
  }
  return static_cast<int32_t>(sums[0]);
}

}  // namespace

RoofKernels roofKernels() { return {"", fetch, read, write, copy, update, multiplyAdd, draw, scatter, W}; }

}  // namespace hebb::bench::HEBB_LEVEL
