// Attention, in tiles of 32 keys and 32 queries. A block has 32 neighbouring columns, whatever sequences they belong
// to, and a head; a lane has a column. Sequences are short and lie one behind another, so the tiles that a block meets
// are those from the first to the last of its sequences, and what a query does not see weighs 0: a sequence of 13
// tokens costs two or three times its own multiply-adds, and no block waits for another. Scores go through shared
// memory: a warp computes those of 4 keys, and then adds up every eighth feature of the result. In the gradient one
// kernel gives the queries' and the sums that the other needs, whose lanes are keys, so that nothing is added
// atomically: the same bits in every run, and others than the CPU's, as sums have another order.
//
// Bound by the multiply-adds in fp32 and by reading shared memory: a word of four keys for four of them.
#include "hebb/attention.h"

#include "hebb/exponential.h"
#include "offsets.cuh"

namespace hebb::cuda {
namespace {

constexpr int kTile = 32;  // columns of a tile: a lane each
constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarp;
constexpr int kMine = kTile / kWarps;  // keys, or queries, whose scores a warp computes
constexpr float kLowest = -3.0e38f;    // below all scores

/// In all threads of a block, whether an earlier operation failed.
__device__ __forceinline__ bool hasFailed(const Failure* failure) {
  HEBB_SHARED(int32_t, earlier, [1]);
  if (threadIdx.x == 0) earlier[0] = loadRacing(&failure->problem) != Problem::none;
  __syncthreads();
  return earlier[0] != 0;
}

/// Columns [begin, end) of the other axis: those that a lane's column sees, or is seen by. None where it is not valid.
struct Range {
  int32_t begin = 0, end = 0;
  __device__ __forceinline__ bool has(int32_t column) const { return column >= begin && column < end; }
};

/// Offsets that are wrong give no columns that do not exist.
__device__ __forceinline__ Range keysOf(const Sequences& all, int32_t query, int32_t queries, int32_t keys) {
  if (query >= queries) return {};
  const int32_t s = sequenceOf(all.queryOffsets, all.count, query);
  const int32_t begin = all.queryOffsets[s], end = all.queryOffsets[s + 1];
  const int32_t first = all.keyOffsets[s], last = all.keyOffsets[s + 1];
  const int32_t seen = all.causal ? min(last, query + 1 + (last - end)) : last;
  if (begin < 0 || first < 0 || last > keys || seen <= first) return {};
  return {first, min(seen, keys)};
}

__device__ __forceinline__ Range queriesOf(const Sequences& all, int32_t key, int32_t keys, int32_t queries) {
  if (key >= keys) return {};
  const int32_t s = sequenceOf(all.keyOffsets, all.count, key);
  const int32_t first = all.queryOffsets[s], end = all.queryOffsets[s + 1], last = all.keyOffsets[s + 1];
  const int32_t from = all.causal ? max(first, key + (end - last)) : first;
  if (first < 0 || from < 0 || end > queries || from >= end) return {};
  return {from, end};
}

/// From the first to the last column that any lane's range has.
__device__ __forceinline__ Range unite(const Range& mine) {
  int32_t begin = mine.begin < mine.end ? mine.begin : INT32_MAX, end = mine.begin < mine.end ? mine.end : 0;
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    begin = min(begin, __shfl_xor_sync(kWholeWarp, begin, distance));
    end = max(end, __shfl_xor_sync(kWholeWarp, end, distance));
  }
  return {begin, end};
}

__device__ __forceinline__ int64_t placeOf(const Activations& a, int32_t feature, int32_t column) {
  return column / a.panel * a.panelStride() + int64_t{feature} * a.panel + column % a.panel;
}

/// Rows [first, first + n) of 32 columns to [n][32] in shared memory, 0 where there is no valid column.
__device__ __forceinline__ void fetch(const Activations& a, int32_t first, int32_t n, int32_t begin, int32_t columns,
                                      float* to) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int32_t column = begin + lane;
  const bool valid = column < columns;
  const float* const from = a.data + (valid ? placeOf(a, first, column) : 0);
  for (int32_t f = warp; f < n; f += kWarps) to[f * kTile + lane] = valid ? from[int64_t{f} * a.panel] : 0.f;
}

/// The products of four neighbouring columns of `others` with the lane's own column, over n features.
__device__ __forceinline__ float4 productsOf(const float* others, int32_t four, const float* own, int lane, int32_t n) {
  float4 sum = make_float4(0.f, 0.f, 0.f, 0.f);
  for (int32_t f = 0; f < n; ++f) sum = mulAdd4(own[f * kTile + lane], load4(others + f * kTile + four), sum);
  return sum;
}

/// sums[i] += the sum over the tile's 32 rows r of coefficients[warp + 8 i][r] rows[r][lane].
template <int F>
__device__ __forceinline__ void addProducts(const float* coefficients, const float* rows, int warp, int lane, int32_t n,
                                            float (&sums)[F]) {
#pragma unroll 2
  for (int r = 0; r < kTile; r += 4) {
    const float a = rows[r * kTile + lane], b = rows[(r + 1) * kTile + lane], c = rows[(r + 2) * kTile + lane],
                d = rows[(r + 3) * kTile + lane];
#pragma unroll
    for (int i = 0; i < F; ++i) {
      const float4 x = load4(coefficients + min(warp + kWarps * i, n - 1) * kTile + r);
      sums[i] = fmaf(x.w, d, fmaf(x.z, c, fmaf(x.y, b, fmaf(x.x, a, sums[i]))));
    }
  }
}

/// What the weights of a key and the next three are multiplied by; `key` counts from the multiple of 4 below it.
__device__ __forceinline__ float4 factorsOf(const Sequences& all, int32_t head, int32_t key, int32_t query) {
  if (!(all.probability > 0)) return make_float4(1.f, 1.f, 1.f, 1.f);
  const Philox draw =
      philox(all.seed, Sequences::drawOf(head, key), static_cast<uint32_t>(query), static_cast<uint32_t>(*all.step),
             purposeWord(kAttentionDraws, static_cast<uint32_t>(all.layer)));
  const bool upper = key % 8 >= 4;  // the words of the keys behind the first four
  const uint32_t first = upper ? draw.word[2] : draw.word[0], second = upper ? draw.word[3] : draw.word[1];
  const Chance loss = all.loss();
  const float kept = loss.inverseOfRest();
  return make_float4((first & 0xFFFFu) >= loss.threshold ? kept : 0.f, first >> 16 >= loss.threshold ? kept : 0.f,
                     (second & 0xFFFFu) >= loss.threshold ? kept : 0.f, second >> 16 >= loss.threshold ? kept : 0.f);
}
__device__ __forceinline__ float at(const float4& v, int i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }

template <int F>
__global__ void __launch_bounds__(kThreads, F > 4 ? 1 : 2)
    attend(Attention op, float scale, int32_t tiles, Failure* failure) {
  HEBB_SHARED_DYNAMIC(float, shared);
  HEBB_SHARED(float, scores, [kTile][kTile]);
  HEBB_SHARED(float, weights, [kTile][kTile]);
  if (hasFailed(failure)) return;
  const Sequences& all = op.sequences;
  const int32_t queries = op.query.columns(), keys = op.key.columns();
  if (blockIdx.x == 0) {
    reportOffsets<kThreads>(all.queryOffsets, all.count, queries, Problem::attentionQueries, failure);
    reportOffsets<kThreads>(all.keyOffsets, all.count, keys, Problem::attentionKeys, failure);
  }
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int32_t head = static_cast<int32_t>(blockIdx.x) / tiles,
                begin = static_cast<int32_t>(blockIdx.x) % tiles * kTile;
  if (begin >= queries) return;
  const int32_t n = op.query.features / all.heads, keyHead = head * (op.key.features / n) / all.heads;
  float *const own = shared, *const key = shared + n * kTile, *const value = shared + 2 * n * kTile;
  fetch(op.query, head * n, n, begin, queries, own);
  const int32_t query = begin + lane;
  const Range mine = keysOf(all, query, queries, keys), any = unite(mine);
  float most = kLowest, total = 0.f, sums[F] = {};
  for (int32_t first = any.begin & ~3; first < any.end; first += kTile) {
    fetch(op.key, keyHead * n, n, first, keys, key);
    fetch(op.value, keyHead * n, n, first, keys, value);
    __syncthreads();
    const float4 score = productsOf(key, warp * kMine, own, lane, n);
#pragma unroll
    for (int i = 0; i < kMine; ++i)
      scores[warp * kMine + i][lane] = mine.has(first + warp * kMine + i) ? at(score, i) * scale : kLowest;
    __syncthreads();
    float largest = most;
    for (int k = 0; k < kTile; ++k) largest = scores[k][lane] <= largest ? largest : scores[k][lane];  // a NaN stays
    const float4 factor =
        factorsOf(all, head, op.key.firstColumn() + first + warp * kMine, op.query.firstColumn() + query);
    __syncthreads();  // all have read the scores
#pragma unroll
    for (int i = 0; i < kMine; ++i) {
      const float s = scores[warp * kMine + i][lane], p = mine.has(first + warp * kMine + i) ? expOf(s - largest) : 0.f;
      scores[warp * kMine + i][lane] = p;
      weights[warp * kMine + i][lane] = p * at(factor, i);
    }
    __syncthreads();
    const float shrink = expOf(most - largest);
    most = largest;
    total *= shrink;
    for (int k = 0; k < kTile; ++k) total += scores[k][lane];
#pragma unroll
    for (int i = 0; i < F; ++i) sums[i] *= shrink;
    addProducts<F>(value, &weights[0][0], warp, lane, n, sums);
    __syncthreads();  // all have read before the next tile is fetched
  }
  if (query >= (queries + 15) / 16 * 16) return;
  // A query that sees keys, all of whose scores are -infinity, has no weights: NaN, as softmax has it.
  const float share = total == 0.f ? 0.f : most == kLowest ? nanf("") : 1.f / total;
#pragma unroll
  for (int i = 0; i < F; ++i) {
    const int32_t f = warp + kWarps * i;
    if (f < n) op.output.data[placeOf(op.output, head * n + f, query)] = query < queries ? sums[i] * share : 0.f;
  }
  if (warp == 0) {
    op.statistics.data[placeOf(op.statistics, 2 * head, query)] = query < queries ? most : 0.f;
    op.statistics.data[placeOf(op.statistics, 2 * head + 1, query)] = query < queries ? share : 0.f;
  }
}

/// A gradient goes to its place, or is added there; behind the valid columns it is 0.
template <int F>
__device__ __forceinline__ void storeGradients(const Activations& to, int32_t first, int32_t n, int32_t column,
                                               int32_t columns, int warp, bool accumulate, const float (&sums)[F]) {
  if (column >= (columns + 15) / 16 * 16) return;
#pragma unroll
  for (int i = 0; i < F; ++i) {
    const int32_t f = warp + kWarps * i;
    if (f >= n) continue;
    float& g = to.data[placeOf(to, first + f, column)];
    g = column >= columns ? 0.f : accumulate ? g + sums[i] : sums[i];
  }
}

template <int F>
__global__ void __launch_bounds__(kThreads, F > 4 ? 1 : 2)
    queryGradients(AttentionGradient op, float scale, int32_t tiles, Failure* failure) {
  HEBB_SHARED_DYNAMIC(float, shared);
  HEBB_SHARED(float, slopes, [kTile][kTile]);
  HEBB_SHARED(float, parts, [kWarps][kTile]);
  if (hasFailed(failure)) return;
  const Sequences& all = op.sequences;
  const int32_t queries = op.query.columns(), keys = op.key.columns();
  if (blockIdx.x == 0) {
    reportOffsets<kThreads>(all.queryOffsets, all.count, queries, Problem::attentionGradientQueries, failure);
    reportOffsets<kThreads>(all.keyOffsets, all.count, keys, Problem::attentionGradientKeys, failure);
  }
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int32_t head = static_cast<int32_t>(blockIdx.x) / tiles,
                begin = static_cast<int32_t>(blockIdx.x) % tiles * kTile;
  if (begin >= queries) return;
  const int32_t n = op.query.features / all.heads, keyHead = head * (op.key.features / n) / all.heads;
  float *const own = shared, *const gradient = shared + n * kTile, *const key = shared + 2 * n * kTile,
               *const value = shared + 3 * n * kTile;
  fetch(op.query, head * n, n, begin, queries, own);
  fetch(op.outputGradient, head * n, n, begin, queries, gradient);
  __syncthreads();
  const int32_t query = begin + lane;
  float product = 0.f, most = 0.f, share = 0.f;
  if (query < queries) {
    const float* const y = op.output.data + placeOf(op.output, head * n, query);
    for (int32_t f = warp; f < n; f += kWarps)
      product = fmaf(y[int64_t{f} * op.output.panel], gradient[f * kTile + lane], product);
    most = op.statistics.data[placeOf(op.statistics, 2 * head, query)];
    share = op.statistics.data[placeOf(op.statistics, 2 * head + 1, query)];
  }
  parts[warp][lane] = product;
  __syncthreads();
  product = 0.f;
  for (int i = 0; i < kWarps; ++i) product += parts[i][lane];
  if (warp == 0 && query < (queries + 15) / 16 * 16) op.products.data[placeOf(op.products, head, query)] = product;
  const Range mine = keysOf(all, query, queries, keys), any = unite(mine);
  float sums[F] = {};
  for (int32_t first = any.begin & ~3; first < any.end; first += kTile) {
    fetch(op.key, keyHead * n, n, first, keys, key);
    fetch(op.value, keyHead * n, n, first, keys, value);
    __syncthreads();
    const float4 score = productsOf(key, warp * kMine, own, lane, n),
                 slope = productsOf(value, warp * kMine, gradient, lane, n),
                 factor =
                     factorsOf(all, head, op.key.firstColumn() + first + warp * kMine, op.query.firstColumn() + query);
#pragma unroll
    for (int i = 0; i < kMine; ++i) {
      const float p = mine.has(first + warp * kMine + i) ? expOf(at(score, i) * scale - most) * share : 0.f;
      slopes[warp * kMine + i][lane] = p * (at(slope, i) * at(factor, i) - product) * scale;
    }
    __syncthreads();
    addProducts<F>(key, &slopes[0][0], warp, lane, n, sums);
    __syncthreads();  // all have read before the next tile is fetched
  }
  storeGradients<F>(op.queryGradient, head * n, n, query, queries, warp, op.accumulateQuery, sums);
}

template <int F>
__global__ void __launch_bounds__(kThreads, F > 4 ? 1 : 2)
    keyGradients(AttentionGradient op, float scale, int32_t tiles, const Failure* failure) {
  HEBB_SHARED_DYNAMIC(float, shared);
  HEBB_SHARED(float, slopes, [kTile][kTile]);
  HEBB_SHARED(float, weights, [kTile][kTile]);
  HEBB_SHARED(float, ofQueries, [3][kTile]);  // largest score, share, product
  if (failed(failure)) return;
  const Sequences& all = op.sequences;
  const int32_t queries = op.query.columns(), keys = op.key.columns();
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int32_t keyHead = static_cast<int32_t>(blockIdx.x) / tiles,
                begin = static_cast<int32_t>(blockIdx.x) % tiles * kTile;
  if (begin >= keys) return;
  const int32_t n = op.query.features / all.heads, heads = all.heads / (op.key.features / n);
  float *const own = shared, *const value = shared + n * kTile, *const query = shared + 2 * n * kTile,
               *const gradient = shared + 3 * n * kTile;
  fetch(op.key, keyHead * n, n, begin, keys, own);
  fetch(op.value, keyHead * n, n, begin, keys, value);
  const int32_t key = begin + lane;
  const Range mine = queriesOf(all, key, keys, queries), any = unite(mine);
  float ofKey[F] = {}, ofValue[F] = {};
  for (int32_t head = keyHead * heads; head < (keyHead + 1) * heads; ++head) {
    for (int32_t first = any.begin; first < any.end; first += kTile) {
      fetch(op.query, head * n, n, first, queries, query);
      fetch(op.outputGradient, head * n, n, first, queries, gradient);
      if (warp < 3) {
        const int32_t column = first + lane;
        float x = 0.f;
        if (column < queries && warp < 2) x = op.statistics.data[placeOf(op.statistics, 2 * head + warp, column)];
        if (column < queries && warp == 2) x = op.products.data[placeOf(op.products, head, column)];
        ofQueries[warp][lane] = x;
      }
      __syncthreads();
      const float4 score = productsOf(query, warp * kMine, own, lane, n),
                   slope = productsOf(gradient, warp * kMine, value, lane, n);
#pragma unroll
      for (int i = 0; i < kMine; ++i) {
        const int q = warp * kMine + i;
        const int32_t wholeKey = op.key.firstColumn() + key;
        const float factor = at(factorsOf(all, head, wholeKey, op.query.firstColumn() + first + q), wholeKey % 4);
        const float p = mine.has(first + q) ? expOf(at(score, i) * scale - ofQueries[0][q]) * ofQueries[1][q] : 0.f;
        weights[q][lane] = p * factor;
        slopes[q][lane] = p * (at(slope, i) * factor - ofQueries[2][q]) * scale;
      }
      __syncthreads();
      addProducts<F>(gradient, &weights[0][0], warp, lane, n, ofValue);
      addProducts<F>(query, &slopes[0][0], warp, lane, n, ofKey);
      __syncthreads();  // all have read before the next tile is fetched
    }
  }
  storeGradients<F>(op.keyGradient, keyHead * n, n, key, keys, warp, op.accumulateKey, ofKey);
  storeGradients<F>(op.valueGradient, keyHead * n, n, key, keys, warp, op.accumulateValue, ofValue);
}

template <class Op>
float scaleOf(const Op& op) {
  const auto n = static_cast<float>(op.query.features / op.sequences.heads);
  return op.sequences.scale > 0 ? static_cast<float>(op.sequences.scale) : 1.f / sqrtf(n);
}

int32_t tilesOf(const Activations& a) { return (a.capacity + kTile - 1) / kTile; }

/// Runs a kernel with `arrays` of [n][32] in shared memory, for each tile of `a` and head.
template <class Op, class F>
Status run(Cuda& cuda, const char* name, void (*kernel)(Op, float, int32_t, F*), const Op& op, const Activations& a,
           int32_t heads, int arrays) {
  const int32_t n = op.query.features / op.sequences.heads;
  const size_t bytes = static_cast<size_t>(arrays) * static_cast<size_t>(n) * kTile * sizeof(float);
  HEBB_RETURN_IF_ERROR(allowShared(cuda, name, kernel, bytes));
  return launch(cuda, name, kernel, int64_t{tilesOf(a)} * heads, dim3(kThreads), bytes, op, scaleOf(op), tilesOf(a),
                cuda.failure());
}

template <int F>
Status forward(Cuda& cuda, const Attention& op) {
  return run(cuda, "attention", attend<F>, op, op.query, op.sequences.heads, 3);
}

template <int F>
Status backward(Cuda& cuda, const AttentionGradient& op) {
  const int32_t keyHeads = op.key.features / (op.query.features / op.sequences.heads);
  HEBB_RETURN_IF_ERROR(run(cuda, "attentionGradient", queryGradients<F>, op, op.query, op.sequences.heads, 4));
  return run(cuda, "attentionGradient", keyGradients<F>, op, op.key, keyHeads, 4);
}

/// Calls of(F) with the features that a warp adds up.
template <class Op, class Of>
Status byFeatures(const Op& op, const Of& of) {
  const int32_t n = op.query.features / op.sequences.heads;
  if (n <= 4 * kWarps) return of(std::integral_constant<int, 4>{});
  if (n <= 8 * kWarps) return of(std::integral_constant<int, 8>{});
  if (n <= 16 * kWarps) return of(std::integral_constant<int, 16>{});
  return of(std::integral_constant<int, 32>{});
}

}  // namespace

Status attention(Backend& backend, const Attention& op) {
  return byFeatures(op, [&](auto features) { return forward<decltype(features)::value>(cudaOf(backend), op); });
}

Status attentionGradient(Backend& backend, const AttentionGradient& op) {
  return byFeatures(op, [&](auto features) { return backward<decltype(features)::value>(cudaOf(backend), op); });
}

}  // namespace hebb::cuda
