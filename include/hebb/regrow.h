// Chooses new links among the missing ones.
#pragma once

#include <cstdint>

#include "hebb/csr.h"
#include "hebb/link_prediction.h"
#include "hebb/operands.h"
#include "hebb/philox.h"

namespace hebb {

/// What an update changes in a layer: old links that stay, and new links.
struct LinkChanges {
  uint8_t* keep = nullptr;        // [capacity] device, 0 or 1 for each old link, CSC order
  int32_t* newRows = nullptr;     // [capacity] device, new links by row, then column
  int32_t* newColumns = nullptr;  // [capacity] device
  int32_t* newCount = nullptr;    // [1] device

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{updates("keep", &LinkChanges::keep, outside<LinkChanges>).transient(),
                      updates("newRows", &LinkChanges::newRows, outside<LinkChanges>).transient(),
                      updates("newColumns", &LinkChanges::newColumns, outside<LinkChanges>).transient(),
                      updates("newCount", &LinkChanges::newCount, exactly<LinkChanges, 1>).transient()};
  }
};

enum class Selection : int32_t {
  sample = 0,   // without replacement, probability proportional to the score
  largest = 1,  // the best scores, ties in a seeded random order
};

constexpr auto namesOf(Selection) {
  return std::array{Named<Selection>{"sample", Selection::sample}, Named<Selection>{"largest", Selection::largest}};
}

// For links by their scores, and for those among zero scores; of regrowByGradient, too.
HEBB_PURPOSE(kRegrowDraws, 6);
HEBB_PURPOSE(kFillDraws, 7);

/// Fills newRows, newColumns and newCount with as many missing links (of the kept topology) as bring the layer to
/// `count` links. Links that were removed in this update are missing ones like all others. With fewer positive scores
/// than links to grow, all of these are taken and the rest is drawn uniformly from the zero-score ones.
struct Regrow {
  Csr links;
  LinkChanges changes;
  LinkPredictor predictor = LinkPredictor::none;
  Selection selection = Selection::sample;
  const double* count = nullptr;   // [1] device scalar: links after the update
  const double* update = nullptr;  // [1] device scalar: the update's number, part of the Philox counter
  uint64_t seed = 0;
  int32_t layer = 0;
  PredictionRoute route = PredictionRoute::automatic;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{sparse("links", &Regrow::links),
                      group("changes", &Regrow::changes, perLink<&Regrow::links>),
                      choice("predictor", &Regrow::predictor),
                      choice("selection", &Regrow::selection),
                      choice("route", &Regrow::route).optional(),
                      scalar("count", &Regrow::count),
                      scalar("update", &Regrow::update),
                      seeded(&Regrow::seed),
                      integer("layer", &Regrow::layer, 0)};
  }
};

}  // namespace hebb
