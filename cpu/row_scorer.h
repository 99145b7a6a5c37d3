// Scores of all missing links of a layer, row by row (hebb/link_prediction.h). By nodes, CH2-L3n and CH3-L3n:
//
//   score(i,j) = sum over k != i of c(UU[i,k], d[k]) A[k,j]  +  sum over l != j of A[i,l] c(VV[j,l], d[l])
//   c(s, d) = 0 if s = 0, else (s + 1) / max(d - s, 1) for CH2, 1 / max(d - s, 1) for CH3
//
// and by paths, CH2-L3p and CH3-L3p:
//
//   score(i,j) = sum over l of A[i,l] r(VV[j,l], d[l])  *  (sum over k of A[k,l] A[k,j] r(UU[i,k], d[k])),
//   r = the square root of c
//
// UU and VV count common neighbours of two outputs and of two inputs. A score by nodes is the sum over the links that
// exist, k ascending, then l ascending; one by paths the sum over l ascending of products, rounded, whose second factor
// is the sum over k ascending. k = i and l = j change scores of links that exist alone. The order is part of the
// contract, as every backend must make the same bits of it.
//
// This is the way for layers that are very sparse or huge; tile_scorer.h is the other one, and prediction_cost.h tells
// which is expected to be faster. Each term is added where it belongs in an array of one row's scores, and the columns
// that were touched are listed, so a row costs its paths and not its columns. The second sum's coefficients are the
// same for all rows; they are kept when they fit into kCoefficientBytes and else made again. All memory else is
// O(links + neurons).
//
// By paths the inner sum of one l is made in an array of its own, by one addition for each path; then l's coefficients
// lead to the places that it has filled, which are multiplied, added to the row's scores and emptied. No path is ever
// stored.
//
// What it costs, for the first update of 1568 x 1568 at 1%, 30% removed (17,243 links kept): 0.39 M steps of counting
// common neighbours, 0.74 M adds for the first sum and 0.72 M for the second, 0.13 M candidates with a Philox word
// each, about 7,400 (1 + ln(130 / 7.4)) = 29,000 keys. One core with AVX-512 needs 4.6 ms for all of regrow, 3.1 ns an
// add with all else in it. Everything is in the second cache: what limits are the ends of the first sum's short lists,
// which the processor cannot foresee, and adds that wait for the scores which the list before has stored.
#pragma once

#include <algorithm>

#include "cpu.h"
#include "hebb/link_prediction.h"
#include "level.h"
#include "prediction_cost.h"

namespace hebb::cpu::HEBB_LEVEL {

/// Bytes that coefficients between pairs of neurons may take: the only thing in link prediction that is not O(links +
/// neurons).
inline constexpr int64_t kCoefficientBytes = int64_t{256} << 20;

/// c(s, d) for s > 0.
inline float coefficientOf(int32_t common, int32_t degree, bool withInternal) {
  const int32_t external = degree - common;
  return (withInternal ? static_cast<float>(common + 1) : 1.f) / static_cast<float>(external > 1 ? external : 1);
}

/// The square root of c(s, d) for s > 0: a factor of a path.
inline float pathFactorOf(int32_t common, int32_t degree, bool withInternal) {
  return std::sqrt(coefficientOf(common, degree, withInternal));
}

/// Integers that were seen, visited in ascending order: a bitmap with two levels of summaries, so that a huge range
/// costs little.
class SeenSet {
 public:
  static int64_t words(int64_t range) { return (range + 63) / 64; }
  static int64_t memory(int64_t range) { return words(range) + words(words(range)) + words(words(words(range))); }
  SeenSet(uint64_t* memory, int64_t range)
      : bits_(memory), summary_(bits_ + words(range)), top_(summary_ + words(words(range))),
        tops_(words(words(words(range)))) {}
  void insert(int32_t i) {
    bits_[i >> 6] |= uint64_t{1} << (i & 63);
    summary_[i >> 12] |= uint64_t{1} << (i >> 6 & 63);
    top_[i >> 18] |= uint64_t{1} << (i >> 12 & 63);
  }
  /// Calls body(i) for all members and forgets them.
  template <class Body>
  void drain(const Body& body) {
    for (int64_t t = 0; t < tops_; ++t) {
      for (uint64_t summaries = top_[t]; summaries; summaries &= summaries - 1) {
        const int64_t s = t * 64 + __builtin_ctzll(summaries);
        for (uint64_t blocks = summary_[s]; blocks; blocks &= blocks - 1) {
          const int64_t word = s * 64 + __builtin_ctzll(blocks);
          for (uint64_t set = bits_[word]; set; set &= set - 1)
            body(static_cast<int32_t>(word * 64 + __builtin_ctzll(set)));
          bits_[word] = 0;
        }
        summary_[s] = 0;
      }
      top_[t] = 0;
    }
  }

 private:
  uint64_t *bits_, *summary_, *top_;
  int64_t tops_;
};

class RowScorer {
 public:
  RowScorer(Cpu& cpu, const Topology& topology, LinkPredictor predictor)
      : cpu_(cpu), t_(topology), withInternal_(isCh2(predictor)), byPaths_(isByPaths(predictor)), counts_(cpu),
        nodes_(cpu), seen_(cpu), scores_(cpu), sums_(cpu), columns_(cpu), listed_(cpu), places_(cpu), entries_(cpu) {}

  /// Makes room, and the coefficients if they fit. Ends early when the device is to stop.
  Status prepare() {
    const int64_t threads = cpu_.team.size();
    longest_ = std::max(t_.rows, t_.cols);
    stride_ = longest_ + 2 * W;  // lists end with padding
    seenWords_ = SeenSet::memory(t_.rows);
    HEBB_RETURN_IF_ERROR(counts_.allocate(longest_ * threads));
    HEBB_RETURN_IF_ERROR(nodes_.allocate(stride_ * threads));
    HEBB_RETURN_IF_ERROR(seen_.allocate(seenWords_ * threads));
    HEBB_RETURN_IF_ERROR(scores_.allocate(stride_ * threads));
    if (byPaths_) HEBB_RETURN_IF_ERROR(sums_.allocate((int64_t{t_.rows} + t_.cols) * threads));
    HEBB_RETURN_IF_ERROR(columns_.allocate(stride_ * threads));
    HEBB_RETURN_IF_ERROR(listed_.allocate(stride_ * threads));
    HEBB_RETURN_IF_ERROR(places_.allocate(int64_t{t_.cols} + 1));
    const int64_t chunks = chunksFor(cpu_, t_.columnOffsets[t_.cols], 1024) * 16;
    const auto eachColumn = [&](const auto& body) {
      cpu_.team.parallel(chunks, [&](int64_t chunk, int rank) {
        const int32_t last = firstRow(t_.columnOffsets, t_.cols, chunk + 1, chunks);
        for (int32_t l = firstRow(t_.columnOffsets, t_.cols, chunk, chunks); l < last && !cpu_.stop; ++l) body(l, rank);
      });
    };
    eachColumn([&](int32_t l, int) {
      int64_t bound = 0;
      for (int32_t k = t_.columnOffsets[l]; k < t_.columnOffsets[l + 1]; ++k)
        bound += t_.rowDegree(t_.rowIndices[k]) - 1;
      places_[l] = {0, std::min<int64_t>(bound, t_.cols)};
    });
    int64_t total = 0;
    for (int32_t l = 0; l < t_.cols; ++l) {
      places_[l].at = total;
      total += places_[l].count;
    }
    kept_ = total * static_cast<int64_t>(sizeof(Entry)) <= kCoefficientBytes;
    if (!kept_ || cpu_.stop) return {};
    HEBB_RETURN_IF_ERROR(entries_.allocate(total));
    eachColumn([&](int32_t l, int rank) {
      Entry* entries = entries_.data() + places_[l].at;
      int64_t n = 0;
      coefficients(l, rank, [&](int32_t j, float c) { entries[n++] = {j, c}; });
      places_[l].count = n;
    });
    return {};
  }

  /// Calls body(columns, scores, n) with the columns that a path of length three leads to, each once and in no order,
  /// and their scores: 0 for links that exist. The lists go on with up to W - 1 places of score 0.
  template <class Body>
  void row(int32_t i, int rank, const Body& body) {
    float* scores = scores_.data() + stride_ * rank;
    int32_t* columns = columns_.data() + stride_ * rank;
    float* listed = listed_.data() + stride_ * rank;
    int64_t touched = 0;
    const auto add = [&](int32_t j, float c) {
      const float score = scores[j];
      columns[touched] = j;
      touched += bitsOf(score) == 0;
      scores[j] = score + c;
    };
    if (byPaths_) addPaths(i, rank, add);
    else addNodes(i, rank, add);
    for (int32_t a = t_.rowOffsets[i]; a < t_.rowOffsets[i + 1]; ++a) scores[t_.columnIndices[a]] = 0;
    for (int64_t m = 0; m < touched; ++m) {
      listed[m] = scores[columns[m]];
      scores[columns[m]] = 0;
    }
    for (int64_t m = touched; m < touched + W; ++m) {
      listed[m] = 0;
      columns[m] = 0;
    }
    body(columns, listed, touched);
  }

 private:
  static int32_t bitsOf(float x) {
    int32_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    return bits;
  }
  static constexpr int64_t kAhead = 8;
  struct Entry {
    int32_t column;
    float coefficient;
  };
  struct Place {
    int64_t at, count;  // first entry, entries
  };

  /// Calls add(j, c) with all terms of row i's scores.
  template <class Add>
  HEBB_INLINE void addNodes(int32_t i, int rank, const Add& add) {
    int32_t* counts = counts_.data() + longest_ * rank;
    int32_t* nodes = nodes_.data() + stride_ * rank;
    SeenSet seen(seen_.data() + seenWords_ * rank, t_.rows);
    for (int32_t a = t_.rowOffsets[i]; a < t_.rowOffsets[i + 1]; ++a) {
      const int32_t v = t_.columnIndices[a];
      for (int32_t b = t_.columnOffsets[v]; b < t_.columnOffsets[v + 1]; ++b) {
        const int32_t k = t_.rowIndices[b];
        if (counts[k]++ == 0) seen.insert(k);
      }
    }
    int64_t n = 0;
    seen.drain([&](int32_t k) { nodes[n++] = k; });
    for (int64_t m = 0; m < n; ++m) {
      // In a huge layer the next rows are not in a cache: they are prefetched while this one is added.
      if (m + kAhead < n) __builtin_prefetch(t_.rowOffsets + nodes[m + kAhead]);
      if (m + kAhead / 2 < n) __builtin_prefetch(t_.columnIndices + t_.rowOffsets[nodes[m + kAhead / 2]]);
      const int32_t k = nodes[m];
      const float c = coefficientOf(counts[k], t_.rowDegree(k), withInternal_);
      counts[k] = 0;
      if (k == i) continue;
      for (int32_t b = t_.rowOffsets[k]; b < t_.rowOffsets[k + 1]; ++b) add(t_.columnIndices[b], c);
    }
    for (int32_t a = t_.rowOffsets[i]; a < t_.rowOffsets[i + 1]; ++a) {
      const int32_t l = t_.columnIndices[a];
      if (!kept_) {
        coefficients(l, rank, add);
      } else {
        const Entry* entries = entries_.data() + places_[l].at;
        for (int64_t e = 0; e < places_[l].count; ++e) add(entries[e].column, entries[e].coefficient);
      }
    }
  }

  /// The same by paths. Paths over i itself lead to its links, whose scores are cleared; with them no sum is zero.
  template <class Add>
  HEBB_INLINE void addPaths(int32_t i, int rank, const Add& add) {
    int32_t* counts = counts_.data() + longest_ * rank;
    int32_t* nodes = nodes_.data() + stride_ * rank;
    float* sums = sums_.data() + (int64_t{t_.rows} + t_.cols) * rank;
    float* factors = sums + t_.cols;  // of the rows that share a neighbour with i; those of others are old
    int64_t n = 0;
    for (int32_t a = t_.rowOffsets[i]; a < t_.rowOffsets[i + 1]; ++a) {
      const int32_t l = t_.columnIndices[a];
      for (int32_t b = t_.columnOffsets[l]; b < t_.columnOffsets[l + 1]; ++b) {
        const int32_t k = t_.rowIndices[b];
        nodes[n] = k;
        n += counts[k]++ == 0;
      }
    }
    for (int64_t m = 0; m < n; ++m) {
      const int32_t k = nodes[m];
      factors[k] = pathFactorOf(counts[k], t_.rowDegree(k), withInternal_);
      counts[k] = 0;
    }
    // Calls step(j, factor of k) for all j != l and all k, ascending, with l and j in common.
    const auto walk = [&](int32_t l, const auto& step) {
      const int32_t end = t_.columnOffsets[l + 1];
      for (int32_t b = t_.columnOffsets[l]; b < end; ++b) {
        if (b + kAhead < end) __builtin_prefetch(t_.columnIndices + t_.rowOffsets[t_.rowIndices[b + kAhead]]);
        const int32_t k = t_.rowIndices[b];
        const float factor = factors[k];
        for (int32_t c = t_.rowOffsets[k]; c < t_.rowOffsets[k + 1]; ++c) step(t_.columnIndices[c], factor);
      }
    };
    for (int32_t a = t_.rowOffsets[i]; a < t_.rowOffsets[i + 1]; ++a) {
      const int32_t l = t_.columnIndices[a];
      if (kept_) {
        walk(l, [&](int32_t j, float factor) { sums[j] += factor; });
        const Entry* entries = entries_.data() + places_[l].at;
        for (int64_t e = 0; e < places_[l].count; ++e) {
          const int32_t j = entries[e].column;
          add(j, entries[e].coefficient * sums[j]);
          sums[j] = 0;
        }
        sums[l] = 0;
      } else {
        n = 0;
        walk(l, [&](int32_t j, float factor) {
          nodes[n] = j;
          n += counts[j]++ == 0;
          sums[j] += factor;
        });
        const int32_t degree = t_.columnDegree(l);
        for (int64_t m = 0; m < n; ++m) {
          const int32_t j = nodes[m];
          add(j, pathFactorOf(counts[j], degree, withInternal_) * sums[j]);
          counts[j] = 0;
          sums[j] = 0;
        }
      }
    }
  }

  /// Calls emit(j, c(VV[j,l], d[l])), or with its square root by paths, for all j != l with a common neighbour, in no
  /// order.
  template <class Emit>
  void coefficients(int32_t l, int rank, const Emit& emit) {
    int32_t* counts = counts_.data() + longest_ * rank;
    int32_t* nodes = nodes_.data() + stride_ * rank;
    int64_t n = 0;
    counts[l] = 1;  // a place that is taken: l is not listed
    for (int32_t a = t_.columnOffsets[l]; a < t_.columnOffsets[l + 1]; ++a) {
      const int32_t u = t_.rowIndices[a];
      for (int32_t b = t_.rowOffsets[u]; b < t_.rowOffsets[u + 1]; ++b) {
        const int32_t j = t_.columnIndices[b];
        nodes[n] = j;
        n += counts[j]++ == 0;
      }
    }
    counts[l] = 0;
    const int32_t d = t_.columnDegree(l);
    for (int64_t m = 0; m < n; ++m) {
      const float c = byPaths_ ? pathFactorOf(counts[nodes[m]], d, withInternal_)
                               : coefficientOf(counts[nodes[m]], d, withInternal_);
      counts[nodes[m]] = 0;
      emit(nodes[m], c);
    }
  }

  Cpu& cpu_;
  const Topology t_;
  const bool withInternal_, byPaths_;
  bool kept_ = false;
  int64_t longest_ = 0, stride_ = 0, seenWords_ = 0;
  Scratch<int32_t> counts_;   // [threads][max(rows, cols)], zero between uses
  Scratch<int32_t> nodes_;    // [threads] the nodes whose counts are not zero
  Scratch<uint64_t> seen_;    // [threads]
  Scratch<float> scores_;     // [threads][cols], zero between rows
  Scratch<float> sums_;       // by paths: [threads] of one l [cols], zero between uses; then factors [rows]
  Scratch<int32_t> columns_;  // [threads] the columns whose scores are not zero
  Scratch<float> listed_;     // [threads] their scores
  Scratch<Place> places_;     // [cols]
  Scratch<Entry> entries_;
};

}  // namespace hebb::cpu::HEBB_LEVEL
