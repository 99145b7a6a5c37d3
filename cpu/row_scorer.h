// Scores of all missing links of one row of a layer, by CH2-L3n or CH3-L3n (hebb/link_prediction.h):
//
//   score(i,j) = sum over k != i of c(UU[i,k], d[k]) A[k,j]  +  sum over l != j of A[i,l] c(VV[j,l], d[l])
//   c(s, d) = 0 if s = 0, else (s + 1) / max(d - s, 1) for CH2, 1 / max(d - s, 1) for CH3
//
// UU and VV count common neighbours of two outputs and of two inputs. The row's scores are accumulated over the links that exist, k
// ascending, then l ascending: the order is part of the contract, as every backend must make the same bits of it. The second
// sum's coefficients are the same for all rows; they are kept when they fit into kCoefficientBytes and else made again.
#pragma once

#include <vector>

#include "cpu.h"
#include "hebb/link_prediction.h"
#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {

/// The links of a layer in both views, without values.
struct Topology {
  int32_t rows, cols;
  const int32_t *rowOffsets, *columnIndices, *columnOffsets, *rowIndices;
};

/// Integers that were seen, visited in ascending order: a bitmap with a summary, so that a huge range costs little.
class SeenSet {
 public:
  static int64_t words(int64_t range) { return (range + 63) / 64; }
  static int64_t memory(int64_t range) { return words(range) + words(words(range)); }
  SeenSet(uint64_t* memory, int64_t range) : bits_(memory), summary_(memory + words(range)), summaries_(words(words(range))) {}
  void insert(int32_t i) {
    bits_[i >> 6] |= uint64_t{1} << (i & 63);
    summary_[i >> 12] |= uint64_t{1} << (i >> 6 & 63);
  }
  /// Calls body(i) for all members and forgets them.
  template <class Body>
  void drain(const Body& body) {
    for (int64_t s = 0; s < summaries_; ++s) {
      for (uint64_t blocks = summary_[s]; blocks; blocks &= blocks - 1) {
        const int64_t word = s * 64 + __builtin_ctzll(blocks);
        for (uint64_t set = bits_[word]; set; set &= set - 1) body(static_cast<int32_t>(word * 64 + __builtin_ctzll(set)));
        bits_[word] = 0;
      }
      summary_[s] = 0;
    }
  }

 private:
  uint64_t *bits_, *summary_;
  int64_t summaries_;
};

class RowScorer {
 public:
  /// Bytes that the coefficients of the second sum may take. The only thing here that is not O(links + neurons).
  static constexpr int64_t kCoefficientBytes = int64_t{256} << 20;

  RowScorer(Cpu& cpu, const Topology& topology, LinkPredictor predictor)
      : cpu_(cpu), t_(topology), withInternal_(predictor == LinkPredictor::ch2L3n), counts_(cpu), seen_(cpu), scores_(cpu), blocks_(cpu),
        places_(cpu), sparse_(cpu), dense_(cpu) {}

  /// Makes room, and the coefficients if they fit.
  Status prepare() {
    const int64_t longest = std::max(t_.rows, t_.cols), threads = cpu_.team.size();
    seenWords_ = SeenSet::memory(longest);
    HEBB_RETURN_IF_ERROR(counts_.allocate(longest * threads));
    HEBB_RETURN_IF_ERROR(seen_.allocate(seenWords_ * threads));
    scoreStride_ = (static_cast<int64_t>(t_.cols) + 63) / 64 * 64;
    HEBB_RETURN_IF_ERROR(scores_.allocate(scoreStride_ * threads));
    HEBB_RETURN_IF_ERROR(blocks_.allocate(scoreStride_ / 64 * threads));
    HEBB_RETURN_IF_ERROR(places_.allocate(int64_t{t_.cols} + 1));
    int64_t denseRows = 0, sparseEntries = 0;
    for (int32_t l = 0; l < t_.cols; ++l) {
      int64_t bound = 0;
      for (int32_t k = t_.columnOffsets[l]; k < t_.columnOffsets[l + 1]; ++k) bound += degree(t_.rowIndices[k]) - 1;
      if (bound > t_.cols / 2) places_[l] = {denseRows++ * scoreStride_, -1};
      else places_[l] = {sparseEntries, 0}, sparseEntries += bound;
    }
    kept_ = sparseEntries * static_cast<int64_t>(sizeof(Entry)) + denseRows * scoreStride_ * 4 <= kCoefficientBytes;
    if (!kept_) return {};
    HEBB_RETURN_IF_ERROR(sparse_.allocate(sparseEntries));
    HEBB_RETURN_IF_ERROR(dense_.allocate(denseRows * scoreStride_));
    const int64_t chunks = chunksFor(cpu_, t_.cols, 16) * 4;
    cpu_.team.parallel(chunks, [&](int64_t chunk, int rank) {
      for (int64_t l = t_.cols * chunk / chunks; l < t_.cols * (chunk + 1) / chunks && !cpu_.stop; ++l) {
        Place& place = places_[l];
        if (place.count < 0) {
          float* row = dense_.data() + place.at;
          coefficients(static_cast<int32_t>(l), rank, [&](int32_t j, float c) { row[j] = c; });
        } else {
          Entry* entries = sparse_.data() + place.at;
          int32_t n = 0;
          coefficients(static_cast<int32_t>(l), rank, [&](int32_t j, float c) { entries[n++] = {j, c}; });
          place.count = n;
        }
      }
    });
    return {};
  }

  /// Calls body(first, last, scores) for the blocks of 64 columns of row i that may hold a nonzero score; existing links read 0.
  template <class Body>
  void row(int32_t i, int rank, const Body& body) {
    float* scores = scores_.data() + scoreStride_ * rank;
    uint8_t* blocks = blocks_.data() + scoreStride_ / 64 * rank;
    int32_t* counts = counts_.data() + std::max(t_.rows, t_.cols) * int64_t{rank};
    SeenSet seen(seen_.data() + seenWords_ * rank, std::max(t_.rows, t_.cols));
    const auto add = [&](int32_t j, float c) {
      scores[j] += c;
      blocks[j >> 6] = 1;
    };
    for (int32_t a = t_.rowOffsets[i]; a < t_.rowOffsets[i + 1]; ++a) {
      const int32_t v = t_.columnIndices[a];
      for (int32_t b = t_.columnOffsets[v]; b < t_.columnOffsets[v + 1]; ++b) {
        const int32_t k = t_.rowIndices[b];
        if (counts[k]++ == 0) seen.insert(k);
      }
    }
    seen.drain([&](int32_t k) {
      const float c = coefficient(counts[k], degree(k));
      counts[k] = 0;
      if (k == i) return;
      for (int32_t b = t_.rowOffsets[k]; b < t_.rowOffsets[k + 1]; ++b) add(t_.columnIndices[b], c);
    });
    for (int32_t a = t_.rowOffsets[i]; a < t_.rowOffsets[i + 1]; ++a) {
      const int32_t l = t_.columnIndices[a];
      if (!kept_) {
        coefficients(l, rank, add);
      } else if (places_[l].count < 0) {
        const float* row = dense_.data() + places_[l].at;
        for (int64_t j = 0; j < scoreStride_; j += W) store(scores + j, load(scores + j) + load(row + j));
        std::fill(blocks, blocks + scoreStride_ / 64, uint8_t{1});
      } else {
        const Entry* entries = sparse_.data() + places_[l].at;
        for (int32_t n = 0; n < places_[l].count; ++n) add(entries[n].column, entries[n].coefficient);
      }
    }
    for (int32_t a = t_.rowOffsets[i]; a < t_.rowOffsets[i + 1]; ++a) scores[t_.columnIndices[a]] = 0;
    for (int64_t block = 0; block < scoreStride_ / 64; ++block) {
      if (!blocks[block]) continue;
      blocks[block] = 0;
      body(static_cast<int32_t>(block * 64), static_cast<int32_t>(block * 64 + 64), scores);
      std::fill(scores + block * 64, scores + block * 64 + 64, 0.f);
    }
  }

 private:
  struct Entry {
    int32_t column;
    float coefficient;
  };
  struct Place {
    int64_t at;      // first entry, or first element of the dense row
    int64_t count;   // entries; -1: a dense row
  };

  int32_t degree(int32_t row) const { return t_.rowOffsets[row + 1] - t_.rowOffsets[row]; }
  float coefficient(int32_t common, int32_t degree) const {
    const int32_t external = degree - common;
    return (withInternal_ ? static_cast<float>(common + 1) : 1.f) / static_cast<float>(external > 1 ? external : 1);
  }

  /// Calls emit(j, c(VV[j,l], d[l])) for all j != l with a common neighbour, ascending.
  template <class Emit>
  void coefficients(int32_t l, int rank, const Emit& emit) {
    int32_t* counts = counts_.data() + std::max(t_.rows, t_.cols) * int64_t{rank};
    SeenSet seen(seen_.data() + seenWords_ * rank, std::max(t_.rows, t_.cols));
    for (int32_t a = t_.columnOffsets[l]; a < t_.columnOffsets[l + 1]; ++a) {
      const int32_t u = t_.rowIndices[a];
      for (int32_t b = t_.rowOffsets[u]; b < t_.rowOffsets[u + 1]; ++b) {
        const int32_t j = t_.columnIndices[b];
        if (counts[j]++ == 0) seen.insert(j);
      }
    }
    const int32_t d = t_.columnOffsets[l + 1] - t_.columnOffsets[l];
    seen.drain([&](int32_t j) {
      const float c = coefficient(counts[j], d);
      counts[j] = 0;
      if (j != l) emit(j, c);
    });
  }

  Cpu& cpu_;
  const Topology t_;
  const bool withInternal_;
  bool kept_ = false;
  int64_t seenWords_ = 0, scoreStride_ = 0;
  Scratch<int32_t> counts_;   // [threads][max(rows, cols)]
  Scratch<uint64_t> seen_;    // [threads]
  Scratch<float> scores_;     // [threads][cols]
  Scratch<uint8_t> blocks_;   // [threads][cols / 64]
  Scratch<Place> places_;     // [cols]
  Scratch<Entry> sparse_;
  Scratch<float> dense_;
};

}  // namespace hebb::cpu::HEBB_LEVEL
