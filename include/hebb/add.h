// The sum of two batches: a residual connection, and what branches of a network give to the gradient of where they
// part.
#pragma once

#include "hebb/activations.h"
#include "hebb/operands.h"

namespace hebb {

/// output = first + second; without a second one, a copy. Adds to output when `accumulate`.
struct Add {
  Activations first, second, output;  // [features][columns] each; second: data null where there is none
  bool accumulate = false;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{
        reads("first", &Add::first, exactly<Add, 0>), reads("second", &Add::second, featuresOf<&Add::first>).optional(),
        flag("accumulate", &Add::accumulate),
        updates("output", &Add::output, featuresOf<&Add::first>).addsIf(&Add::accumulate).inPlaceOf("first", "second")};
  }
};

}  // namespace hebb
