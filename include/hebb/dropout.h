// Dropout (Srivastava et al., 2014), inverted: what stays is scaled, so that nothing is left to do in evaluation.
#pragma once

#include "hebb/activations.h"
#include "hebb/operands.h"
#include "hebb/philox.h"

namespace hebb {

HEBB_PURPOSE(kDropoutDraws, 17);

/// output = input / (1 - probability) where a draw keeps the element, else 0. Adds to output when `accumulate`. The
/// draw belongs to (layer, feature, column of the whole batch, step) and is never stored: on the output's gradient, the
/// same operation gives the input's. It has 16 bits, and the probability is rounded to what they can say: see Chance.
struct Dropout {
  Activations input, output;  // [features][columns] each
  double probability = 0;     // of losing an element, in [0, 1)
  uint64_t seed = 0;
  int32_t layer = 0;
  bool accumulate = false;
  const int64_t* step = nullptr;  // [1] device

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{reads("input", &Dropout::input, exactly<Dropout, 0>),
                      flag("accumulate", &Dropout::accumulate),
                      updates("output", &Dropout::output, featuresOf<&Dropout::input>)
                          .addsIf(&Dropout::accumulate)
                          .inPlaceOf("input"),
                      number("probability", &Dropout::probability, 0, 0.999999),
                      seeded(&Dropout::seed),
                      integer("layer", &Dropout::layer, 0, (1 << 24) - 1),
                      given(&Dropout::step)};
  }

  /// Of losing an element. The draw by (feature, column / 8, step, layer) has the bits of eight neighbouring columns.
  Chance loss() const { return Chance::of(probability); }
};

}  // namespace hebb
