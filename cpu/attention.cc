// Attention, a sequence and a head at a time, in tiles of kTile keys and kTile queries. A lane is a query wherever it
// can be: scores lie as S[key][query], so that largest scores, sums and rescaling need no sums of lanes, and all six
// products of the two passes are outer products in registers, of coefficients that are read one by one and rows of
// lanes. For the gradients of keys and values, where a lane is a key, weights are transposed within their tile. Nobody
// else writes a (sequence, key head), so nothing depends on the threads. Bound by the multiply-adds: 4 n for each pair
// of a query and a key in a head of n features, and 10 n in the gradient; of sequences of some 10 tokens, as much by
// powers, draws and memory: the forward pass prefetches the next sequence (the backward one is no faster for it).
#include "hebb/attention.h"

#include <algorithm>

#include "cpu.h"
#include "hebb/exponential.h"
#include "level.h"
#include "offsets.h"
#include "outer_products.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

constexpr int32_t kTile = 64;        // keys, and queries, of a tile
constexpr int32_t kRow = 80;         // floats from a row in scratch memory to the next: room for a vector that begins
                                     // in it, and no power of 2, by which rows would share few of the cache's sets
constexpr int kOuterRows = 5;        // rows of a product held in registers at most
constexpr float kLowest = -3.0e38f;  // below all scores

template <class Op>
Status checkSequences(const Op& op) {
  const Sequences& all = op.sequences;
  HEBB_RETURN_IF_ERROR(checkOffsets("queryOffsets", all.queryOffsets, all.count, op.query.columns()));
  return checkOffsets("keyOffsets", all.keyOffsets, all.count, op.key.columns());
}

/// Some columns of a head's features: element (f, c) is data[f * stride + c].
struct Tile {
  const float* data;
  int64_t stride;
};

/// Calls body(column - begin, length, address of the first feature) for the parts of [begin, begin + count) that lie in
/// one panel.
template <class Body>
HEBB_INLINE void eachPiece(const Activations& a, int32_t first, int32_t begin, int32_t count, const Body& body) {
  for (int32_t c = begin, end = begin + count; c < end;) {
    const int32_t length = std::min(end - c, a.panel - c % a.panel);
    body(c - begin, length, panelData(a, c / a.panel) + int64_t{first} * a.panel + c % a.panel);
    c += length;
  }
}

/// Copies columns to `room`, in whole vectors: behind the last column lies whatever was there.
void copyTile(const Activations& a, int32_t first, int32_t features, int32_t begin, int32_t count, float* room) {
  eachPiece(a, first, begin, count, [&](int32_t at, int32_t length, const float* from) {
    for (int32_t f = 0; f < features; ++f) {
      for (int32_t c = 0; c < length; c += W) store(room + f * kRow + at + c, load(from + int64_t{f} * a.panel + c));
    }
  });
}

/// The columns where they are, if whole vectors of live ones can be read there, else copied to `room`.
HEBB_INLINE Tile tileOf(const Activations& a, int32_t first, int32_t features, int32_t begin, int32_t count,
                        float* room) {
  const int32_t wide = (count + W - 1) / W * W;
  if (begin % a.panel + wide <= liveColumns(a, begin / a.panel))
    return {panelData(a, begin / a.panel) + int64_t{first} * a.panel + begin % a.panel, a.panel};
  copyTile(a, first, features, begin, count, room);
  return {room, kRow};
}

/// R rows and NV vectors of a product, in registers.
template <int R, int NV>
HEBB_INLINE void productBlock(const float* coefficients, int64_t rowStride, int64_t stride, int32_t n, Tile in,
                              float* out, bool add) {
  Vec sum[R][NV];
  for (int r = 0; r < R; ++r) {
    for (int i = 0; i < NV; ++i) sum[r][i] = Vec{};
  }
  if (add) {
    for (int r = 0; r < R; ++r) {
      for (int i = 0; i < NV; ++i) sum[r][i] = load(out + r * kRow + i * W);
    }
  }
  addOuterProducts<R, NV>(coefficients, rowStride, stride, n, in.data, in.stride, sum);
  for (int r = 0; r < R; ++r) {
    for (int i = 0; i < NV; ++i) store(out + r * kRow + i * W, sum[r][i]);
  }
}

/// R rows of it. Not in line: all products of both passes share this code.
template <int R>
__attribute__((noinline)) void productRows(const float* coefficients, int64_t rowStride, int64_t stride, int32_t n,
                                           Tile in, int32_t columns, float* out, bool add) {
  int32_t c = 0;
  for (; c + 2 * W <= columns; c += 2 * W)
    productBlock<R, 2>(coefficients, rowStride, stride, n, {in.data + c, in.stride}, out + c, add);
  if (c < columns) productBlock<R, 1>(coefficients, rowStride, stride, n, {in.data + c, in.stride}, out + c, add);
}

/// out[r][c] = (add ? out[r][c] : 0) + the sum over i < n of coefficients[r * rowStride + i * stride] in[i][c]. The
/// rows are shared out evenly: of one or two at once, the multiply-adds would wait for each other.
void product(const float* coefficients, int64_t rowStride, int64_t stride, int32_t n, Tile in, int32_t rows,
             int32_t columns, float* out, bool add) {
  static_assert(kOuterRows == 5);
  constexpr decltype(&productRows<1>) run[] = {productRows<1>, productRows<2>, productRows<3>, productRows<4>,
                                               productRows<5>};
  for (int32_t row = 0, times = (rows + kOuterRows - 1) / kOuterRows; times > 0; --times) {
    const int32_t several = (rows - row + times - 1) / times;
    run[several - 1](coefficients + row * rowStride, rowStride, stride, n, in, columns, out + row * kRow, add);
    row += several;
  }
}

/// W rows of W columns become W columns of W rows.
HEBB_INLINE void transposeTile(const float* from, float* to) {
  Vec rows[W];
  for (int i = 0; i < W; ++i) rows[i] = load(from + i * kRow);
  transpose(rows);
  for (int i = 0; i < W; ++i) store(to + i * kRow, rows[i]);
}

/// Columns of a result that lie at from[f][c] go to their place, times factors[c] if there are any, or are added there.
void place(const float* from, const float* factors, const Activations& a, int32_t first, int32_t features,
           int32_t begin, int32_t count, bool add) {
  eachPiece(a, first, begin, count, [&](int32_t at, int32_t length, float* to) {
    for (int32_t f = 0; f < features; ++f) {
      const float* __restrict const x = from + f * kRow + at;
      float* __restrict const y = to + int64_t{f} * a.panel;
      if (factors) {
        for (int32_t c = 0; c < length; ++c) y[c] = x[c] * factors[at + c];
      } else if (add) {
        for (int32_t c = 0; c < length; ++c) y[c] += x[c];
      } else {
        for (int32_t c = 0; c < length; ++c) y[c] = x[c];
      }
    }
  });
}

/// Prefetches a head's rows of a sequence's columns [begin, end): the line of the last one, as that of the first one is
/// mostly the last of the sequence before.
HEBB_INLINE void prefetch(const Activations& a, int32_t first, int32_t features, int32_t begin, int32_t end) {
  if (begin == end) return;
  const float* const from = panelData(a, (end - 1) / a.panel) + int64_t{first} * a.panel + (end - 1) % a.panel;
  for (int32_t f = 0; f < features; ++f) __builtin_prefetch(from + int64_t{f} * a.panel);
}

/// What lies behind the valid columns is finite, and of gradients 0.
void clearSpare(const Activations& a) {
  const int32_t columns = a.columns();
  if (columns % 16 == 0) return;
  float* const to = panelData(a, columns / a.panel) + columns % a.panel;
  for (int32_t f = 0; f < a.features; ++f) std::fill_n(to + int64_t{f} * a.panel, 16 - columns % 16, 0.f);
}

/// A sequence's columns, and how the keys that a query sees end.
struct Span {
  int32_t queries, queryEnd, keys, keyEnd;
  bool causal;
  /// Key k is seen by query q where k - keys <= q - queries + ahead.
  int32_t ahead() const { return (keyEnd - keys) - (queryEnd - queries); }
  /// Whether any of the queries before q sees key k.
  bool sees(int32_t q, int32_t k) const { return !causal || k - keys <= q - 1 - queries + ahead(); }
};

Span spanOf(const Sequences& all, int32_t s) {
  return {all.queryOffsets[s], all.queryOffsets[s + 1], all.keyOffsets[s], all.keyOffsets[s + 1], all.causal};
}

/// Of a tile of keys from k on and queries from q on.
struct Mask {
  const Sequences& all;
  const Span& span;
  int32_t head, q, k;
  uint32_t firstQuery, firstKey;  // of the whole batch

  HEBB_INLINE static UintVec lanes() {
    UintVec lane;
    for (int i = 0; i < W; ++i) lane[i] = static_cast<uint32_t>(i);
    return lane;
  }
  /// All bits of the lanes whose query, from q + column on, sees key k + row.
  HEBB_INLINE IntVec seen(int32_t row, int32_t column) const {
    const int32_t from = (k + row - span.keys) - (q + column - span.queries) - span.ahead();
    return (IntVec)lanes() >= from;
  }
  /// Factors of the weights of keys [0, rows) for the queries from `column` on: 0, or what makes up for the lost ones.
  HEBB_INLINE void draw(int32_t rows, int32_t column, float* factors) const {
    const Chance loss = all.loss();
    const uint32_t threshold = loss.threshold, key = firstKey + static_cast<uint32_t>(k);
    const UintVec query = lanes() + (firstQuery + static_cast<uint32_t>(q + column));
    const Vec kept = splat(loss.inverseOfRest());
    for (uint32_t eight = key / 8; eight * 8 < key + static_cast<uint32_t>(rows); ++eight) {
      UintVec words[4];
      PhiloxRow(all.seed, Sequences::drawOf(head, static_cast<int32_t>(eight * 8)), static_cast<uint32_t>(*all.step),
                purposeWord(kAttentionDraws, static_cast<uint32_t>(all.layer)))
          .words(query, words);
      for (uint32_t i = 0; i < 8; ++i) {
        const uint32_t at = eight * 8 + i - key;  // far above all rows where the key is one before
        const UintVec bits = i % 2 ? words[i / 2] >> 16 : words[i / 2] & 0xFFFFu;
        if (at < static_cast<uint32_t>(rows))
          store(factors + at * kRow + static_cast<uint32_t>(column), (Vec)((IntVec)kept & (bits >= threshold)));
      }
    }
  }
};

}  // namespace

Status attention(Backend& backend, const Attention& op) {
  HEBB_RETURN_IF_ERROR(checkSequences(op));
  Cpu& cpu = cpuOf(backend);
  const Sequences& all = op.sequences;
  const int32_t n = op.query.features / all.heads, keyHeads = op.key.features / n;
  const Vec scale = splat(all.scale > 0 ? static_cast<float>(all.scale) : 1.f / std::sqrt(static_cast<float>(n)));
  constexpr int32_t kSquare = kTile * kRow;
  const int64_t rooms = int64_t{4} * n * kRow + 2 * kSquare;
  Scratch<float> memory(backend);
  HEBB_RETURN_IF_ERROR(memory.allocate(rooms * cpu.team.size()));
  const bool loses = all.probability > 0;
  const int64_t items = int64_t{all.count} * all.heads;
  const auto compute = [&](int32_t head, const Span& span, float* room) {
    float *const queries = room, *const keys = room + n * kRow, *const values = room + 2 * n * kRow,
                 *const sums = room + 3 * n * kRow, *const weights = room + 4 * n * kRow,
                 *const factors = weights + kSquare;
    const int32_t first = head * n, firstKey = head * keyHeads / all.heads * n;
    for (int32_t q = span.queries; q < span.queryEnd; q += kTile) {
      const int32_t count = std::min(kTile, span.queryEnd - q), wide = (count + W - 1) / W * W;
      const Tile x = tileOf(op.query, first, n, q, count, queries);
      float largest[kTile], total[kTile];
      std::fill_n(largest, kTile, kLowest);
      std::fill_n(total, kTile, 0.f);
      if (span.keyEnd == span.keys || !span.sees(q + count, span.keys)) std::fill_n(sums, n * kRow, 0.f);
      for (int32_t k = span.keys; k < span.keyEnd && span.sees(q + count, k); k += kTile) {
        const int32_t rows = std::min(kTile, span.keyEnd - k);
        const Tile key = tileOf(op.key, firstKey, n, k, rows, keys),
                   value = tileOf(op.value, firstKey, n, k, rows, values);
        const Mask mask{all,
                        span,
                        head,
                        q,
                        k,
                        static_cast<uint32_t>(op.query.firstColumn()),
                        static_cast<uint32_t>(op.key.firstColumn())};
        product(key.data, 1, key.stride, n, x, rows, wide, weights, false);
        for (int32_t c = 0; c < wide; c += W) {
          Vec most = load(largest + c), sum{};
          for (int32_t r = 0; r < rows; ++r) {
            Vec s = load(weights + r * kRow + c) * scale;
            if (span.causal) s = mask.seen(r, c) ? s : splat(kLowest);
            store(weights + r * kRow + c, s);
            most = s <= most ? most : s;  // a NaN stays
          }
          if (loses) mask.draw(rows, c, factors);
          for (int32_t r = 0; r < rows; ++r) {
            Vec p = expOf(load(weights + r * kRow + c) - most);
            if (span.causal) p = mask.seen(r, c) ? p : Vec{};
            sum += p;
            if (loses) p *= load(factors + r * kRow + c);
            store(weights + r * kRow + c, p);
          }
          const Vec shrink = expOf(load(largest + c) - most);
          store(total + c, load(total + c) * shrink + sum);
          store(largest + c, most);
          if (k == span.keys) continue;
          for (int32_t f = 0; f < n; ++f) store(sums + f * kRow + c, load(sums + f * kRow + c) * shrink);
        }
        product(value.data, value.stride, 1, rows, {weights, kRow}, n, wide, sums, k > span.keys);
      }
      for (int32_t c = 0; c < wide; c += W) {
        // A query that sees keys, all of whose scores are -infinity, has no weights: NaN, as softmax has it.
        const Vec sum = load(total + c),
                  share = sum == Vec{} ? Vec{} : (load(largest + c) == splat(kLowest) ? splat(NAN) : splat(1.f) / sum);
        store(total + c, share);
      }
      place(sums, total, op.output, first, n, q, count, false);
      place(largest, nullptr, op.statistics, 2 * head, 1, q, count, false);
      place(total, nullptr, op.statistics, 2 * head + 1, 1, q, count, false);
    }
  };
  const int64_t chunks = chunksFor(cpu, items, 4);
  cpu.team.parallel(chunks, [&](int64_t chunk, int rank) {
    for (int64_t item = items * chunk / chunks, end = items * (chunk + 1) / chunks; item < end; ++item) {
      const Span span = spanOf(all, static_cast<int32_t>(item % all.count));
      if (item + 1 < end) {
        const Span next = spanOf(all, static_cast<int32_t>((item + 1) % all.count));
        const auto head = static_cast<int32_t>((item + 1) / all.count);
        prefetch(op.query, head * n, n, next.queries, next.queryEnd);
        prefetch(op.key, head * keyHeads / all.heads * n, n, next.keys, next.keyEnd);
        prefetch(op.value, head * keyHeads / all.heads * n, n, next.keys, next.keyEnd);
        prefetch(op.output, head * n, n, next.queries, next.queryEnd);
      }
      if (span.queryEnd > span.queries)
        compute(static_cast<int32_t>(item / all.count), span, memory.data() + rank * rooms);
    }
  });
  clearSpare(op.output);
  clearSpare(op.statistics);
  return {};
}

Status attentionGradient(Backend& backend, const AttentionGradient& op) {
  HEBB_RETURN_IF_ERROR(checkSequences(op));
  Cpu& cpu = cpuOf(backend);
  const Sequences& all = op.sequences;
  const int32_t n = op.query.features / all.heads, keyHeads = op.key.features / n, shared = all.heads / keyHeads;
  const Vec scale = splat(all.scale > 0 ? static_cast<float>(all.scale) : 1.f / std::sqrt(static_cast<float>(n)));
  const bool loses = all.probability > 0;
  constexpr int32_t kSquare = kTile * kRow;
  const int64_t rooms = int64_t{8} * n * kRow + 5 * kSquare;
  Scratch<float> memory(backend);
  HEBB_RETURN_IF_ERROR(memory.allocate(rooms * cpu.team.size()));

  // Of one tile: what the queries of a head give the gradients of the keys and values, and what these give the queries.
  const auto tile = [&](int32_t head, const Span& span, int32_t q, int32_t k, const Tile& key, const Tile& value,
                        float* keySums, float* valueSums, bool add, float* room) {
    float *const queries = room, *const gradients = room + n * kRow, *const outputs = room + 2 * n * kRow,
                 *const querySums = room + 3 * n * kRow, *const weights = room + 4 * n * kRow,
                 *const slopes = weights + kSquare, *const factors = slopes + kSquare,
                 *const weightsOfQuery = factors + kSquare, *const slopesOfQuery = weightsOfQuery + kSquare;
    const int32_t first = head * n, count = std::min(kTile, span.queryEnd - q), wide = (count + W - 1) / W * W,
                  rows = std::min(kTile, span.keyEnd - k), wideRows = (rows + W - 1) / W * W;
    const Tile x = tileOf(op.query, first, n, q, count, queries),
               dy = tileOf(op.outputGradient, first, n, q, count, gradients);
    float statistics[3 * kRow] = {};
    const Tile of = tileOf(op.statistics, 2 * head, 2, q, count, statistics);
    const Mask mask{all,
                    span,
                    head,
                    q,
                    k,
                    static_cast<uint32_t>(op.query.firstColumn()),
                    static_cast<uint32_t>(op.key.firstColumn())};
    product(key.data, 1, key.stride, n, x, rows, wide, weights, false);
    product(value.data, 1, value.stride, n, dy, rows, wide, slopes, false);
    float* const products = statistics + 2 * kRow;
    if (k == span.keys) {
      const Tile y = tileOf(op.output, first, n, q, count, outputs);
      for (int32_t c = 0; c < wide; c += W) {
        Vec sum{};
        for (int32_t f = 0; f < n; ++f)
          sum = mulAdd(load(y.data + f * y.stride + c), load(dy.data + f * dy.stride + c), sum);
        store(products + c, sum);
      }
      place(products, nullptr, op.products, head, 1, q, count, false);
    }
    // Copied: beside these columns are those of other sequences, which others may be writing.
    if (k > span.keys) {
      eachPiece(op.products, head, q, count,
                [&](int32_t at, int32_t length, const float* from) { std::copy_n(from, length, products + at); });
    }
    for (int32_t c = 0; c < wide; c += W) {
      if (loses) mask.draw(rows, c, factors);
      const Vec most = load(of.data + c), share = load(of.data + of.stride + c), whole = load(products + c);
      for (int32_t r = 0; r < rows; ++r) {
        Vec p = expOf(load(weights + r * kRow + c) * scale - most) * share;
        if (span.causal) p = mask.seen(r, c) ? p : Vec{};
        Vec kept = p, slope = load(slopes + r * kRow + c);
        if (loses) {
          const Vec factor = load(factors + r * kRow + c);
          kept *= factor;
          slope *= factor;
        }
        store(weights + r * kRow + c, kept);
        store(slopes + r * kRow + c, p * (slope - whole) * scale);
      }
      for (int32_t r = 0; r < rows; r += W) {
        transposeTile(weights + r * kRow + c, weightsOfQuery + c * kRow + r);
        transposeTile(slopes + r * kRow + c, slopesOfQuery + c * kRow + r);
      }
    }
    product(dy.data, dy.stride, 1, count, {weightsOfQuery, kRow}, n, wideRows, valueSums, add);
    product(x.data, x.stride, 1, count, {slopesOfQuery, kRow}, n, wideRows, keySums, add);
    product(key.data, key.stride, 1, rows, {slopes, kRow}, n, wide, querySums, false);
    place(querySums, nullptr, op.queryGradient, first, n, q, count, op.accumulateQuery || k > span.keys);
  };

  const auto compute = [&](int32_t keyHead, const Span& span, float* room) {
    float *const keys = room, *const values = room + n * kRow, *const keySums = room + 2 * n * kRow,
                 *const valueSums = room + 3 * n * kRow;
    for (int32_t k = span.keys; k < span.keyEnd; k += kTile) {
      const int32_t rows = std::min(kTile, span.keyEnd - k);
      const Tile key = tileOf(op.key, keyHead * n, n, k, rows, keys),
                 value = tileOf(op.value, keyHead * n, n, k, rows, values);
      bool begun = false;
      for (int32_t head = keyHead * shared; head < (keyHead + 1) * shared; ++head) {
        for (int32_t q = span.queries; q < span.queryEnd; q += kTile) {
          const int32_t count = std::min(kTile, span.queryEnd - q);
          // The first keys write the gradient of all queries.
          if (k > span.keys && !span.sees(q + count, k)) continue;
          tile(head, span, q, k, key, value, keySums, valueSums, begun, room + 4 * n * kRow);
          begun = true;
        }
      }
      if (!begun) std::fill_n(keySums, 2 * n * kRow, 0.f);
      place(keySums, nullptr, op.keyGradient, keyHead * n, n, k, rows, op.accumulateKey);
      place(valueSums, nullptr, op.valueGradient, keyHead * n, n, k, rows, op.accumulateValue);
    }
    if (span.keyEnd > span.keys) return;
    std::fill_n(keySums, n * kRow, 0.f);
    for (int32_t head = keyHead * shared; head < (keyHead + 1) * shared; ++head) {
      for (int32_t q = span.queries; q < span.queryEnd; q += kTile) {
        const int32_t count = std::min(kTile, span.queryEnd - q);
        place(keySums, nullptr, op.queryGradient, head * n, n, q, count, op.accumulateQuery);
        place(keySums, nullptr, op.products, head, 1, q, count, false);
      }
    }
  };
  const int64_t items = int64_t{all.count} * keyHeads, chunks = chunksFor(cpu, items, 4);
  cpu.team.parallel(chunks, [&](int64_t chunk, int rank) {
    for (int64_t item = items * chunk / chunks, end = items * (chunk + 1) / chunks; item < end; ++item) {
      const Span span = spanOf(all, static_cast<int32_t>(item % all.count));
      if (span.queryEnd > span.queries || span.keyEnd > span.keys)
        compute(static_cast<int32_t>(item / all.count), span, memory.data() + rank * rooms);
    }
  });
  for (const Activations* a : {&op.products, &op.queryGradient, &op.keyGradient, &op.valueGradient}) clearSpare(*a);
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
