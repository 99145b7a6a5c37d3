// What growing by scores and by gradients share: the kept links, the search for the best candidates, the draws for what
// these leave, and the new links.
//
//   begin     the kept links in both views, by prefix sums over their flags
//   race      every missing link with a score has a rank (ranks.cuh), and the best ones win. Scores are never stored:
//             they are computed once for each digit of the smallest rank that may win, until no more candidates are
//             left than fit the list, and once more to list these; mostly three times. A radix select over the list
//             finds the winners, and a sort brings them into the order of their cells.
//   finish    what scores do not fill is drawn among the free cells as cpu/distinct.cc draws it: the first distinct
//             numbers of one stream of Philox. All draws that may be needed are made at once: a stable sort finds the
//             first one of each number, a prefix sum in the order of the draws counts them. When more than half of the
//             range is to be drawn, what stays out is. The n-th free cell is searched in the links of its row, and both
//             kinds of new links are merged.
//
// Nothing that the device finds steers a launch: memory is sized by capacities, kernels read counts where they lie.
//
// Roofline, C capacity: 100 C bytes for the kept views; for the race's list 16 (C + 65536) and a sort of it; for draws
// 60 C and a sort of 1.5 C pairs, only as far as there are any to make.
#pragma once

#include "hebb/regrow.h"
#include "ranks.cuh"
#include "row_scorer.cuh"

namespace hebb::cuda {

/// What is asked for, whatever the scores.
struct GrowthRequest {
  const char* operation;  // for errors
  Csr links;
  LinkChanges changes;
  const double *count, *update;
  uint64_t seed;
  int32_t layer;
  Problem tooMany;  // when more links are asked for than fit
};

/// What an update is to do, in device memory.
struct GrowthPlan {
  int32_t wanted;      // links to grow
  int32_t candidates;  // listed by the race
  int32_t winners;     // listed of those, with those that share the smallest winning rank
  int32_t chosen;      // links that won the race
  int32_t fill;        // links to draw
  int32_t draws;       // numbers to draw for that, with repeats
  int32_t distinct;    // different numbers to take from these
  int32_t complement;  // whether they are those that stay out
  int64_t range;       // free cells to draw from
};

/// Where the race's candidates are listed.
struct Candidates {
  Draw draw;  // but for its step, which is the update
  const double* update;
  Threshold* floor;
  uint64_t* ranks;  // [room]
  uint64_t* cells;  // [room]
  GrowthPlan* plan;
  int32_t room;

  __device__ __forceinline__ Draw drawNow() const {
    Draw now = draw;
    now.step = static_cast<uint32_t>(*update);
    return now;
  }
  __device__ __forceinline__ void list(uint64_t rank, int32_t row, int32_t column, int32_t cols) const {
    const int32_t at = atomicAdd(&plan->candidates, 1);
    if (at >= room) return;
    ranks[at] = rank;
    cells[at] = static_cast<uint64_t>(row) * static_cast<uint64_t>(cols) + static_cast<uint64_t>(column);
  }
};

/// Grows one layer: begin(), for scores race(), finish().
class Growth {
 public:
  Growth(Cuda& cuda, const GrowthRequest& request);

  Status begin();
  /// The links that stay.
  const Topology& kept() const { return kept_; }
  /// count(candidates, pass, bins) adds a histogram of the digit `pass` of the candidates' ranks to bins, unless the
  /// floor is settled; list(candidates) lists those at the floor or above it, in any order, unless none is wanted.
  template <class CountAll, class ListAll>
  Status race(const CountAll& count, const ListAll& list) {
    Scratch<Threshold> floor(cuda_);
    Scratch<Count> bins(cuda_);
    Scratch<uint64_t> ranks(cuda_), cells(cuda_);
    HEBB_RETURN_IF_ERROR(floor.allocate(1));
    HEBB_RETURN_IF_ERROR(bins.allocate(kDigits));
    HEBB_RETURN_IF_ERROR(ranks.allocate(room()));
    HEBB_RETURN_IF_ERROR(cells.allocate(room()));
    const Candidates candidates{{request_.seed, 0, purposeWord(kRegrowDraws, static_cast<uint32_t>(request_.layer))},
                                request_.update,
                                floor.data(),
                                ranks.data(),
                                cells.data(),
                                plan_.data(),
                                static_cast<int32_t>(room())};
    HEBB_RETURN_IF_ERROR(beginThreshold(cuda_, request_.operation, floor.data(), &plan_.data()->wanted));
    for (int pass = 0; pass < kPasses; ++pass) {
      HEBB_RETURN_IF_ERROR(count(candidates, pass, bins.data()));
      HEBB_RETURN_IF_ERROR(pickDigit(cuda_, request_.operation, floor.data(), pass, bins.data(), room()));
    }
    HEBB_RETURN_IF_ERROR(list(candidates));
    return choose(candidates);
  }
  Status finish();

 private:
  int64_t cells() const { return int64_t{request_.links.rows} * request_.links.cols; }
  int64_t room() const;
  Status choose(const Candidates& candidates);
  Status drawSet(int64_t* set);

  Cuda& cuda_;
  const GrowthRequest request_;
  Scratch<GrowthPlan> plan_;
  Scratch<int32_t> rowOffsets_, columnIndices_, columnOffsets_, rowIndices_;
  Scratch<uint64_t> chosen_;  // [capacity] the cells of the links that win, ascending; plan->chosen of them
  Topology kept_;
};

}  // namespace hebb::cuda
