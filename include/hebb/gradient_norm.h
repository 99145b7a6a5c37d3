// The norm of all gradients together, for clipping: an operation between the backward pass and the optimizer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "hebb/loss.h"
#include "hebb/operands.h"
#include "hebb/status.h"

namespace hebb {

/// norm = the square root of the sum of all gradients' squares / lossScale; scale = min(1, maxNorm / norm) / lossScale,
/// what an optimizer multiplies gradients by (Sgd::scale, Adam::scale) so that together they are no longer than maxNorm
/// (Pascanu et al., 2013). A norm that is NaN or infinite ends the step with Code::nonFinite; the loss's sums go back
/// to what they were before the step, if they are given.
///
/// All sums are in double precision and in one order, so that the bits are the same everywhere. Of a gradient, block b
/// of kBlock elements belongs to part b % kParts. A part has kLanes sums: element i of its blocks is added to sum i %
/// kLanes, one after the other, and then the sums are added in pairs that are kLanes / 2, kLanes / 4, ... 1 apart. The
/// parts are added in the same way, part p to sum p % kLanes; and the gradients in the order given.
struct GradientNorm {
  static constexpr int kLanes = 32;
  static constexpr int kBlock = 1024;
  static constexpr int kParts = 4096;

  struct Part {
    const float* gradient = nullptr;  // [count] device
    int64_t capacity = 0;             // elements that fit
    const int32_t* count = nullptr;   // [1] device: elements in use (a sparse layer's links); null: capacity

    static constexpr auto operands() {
      using namespace declare;
      return std::tuple{elements("pattern", "count", &Part::capacity, &Part::count),
                        reads("gradient", &Part::gradient, numberOf<&Part::capacity>)};
    }
  };

  std::vector<Part> gradients;           // a host list of device views
  double maxNorm = 0;                    // above 0
  double lossScale = 1;                  // what the gradients were multiplied by (LossColumns::lossScale)
  double* norm = nullptr;                // [1] device
  double* scale = nullptr;               // [1] device
  LossTotals* totals = nullptr;          // [1] device, or null
  const LossTotals* previous = nullptr;  // [1] device, or null: what `totals` were before the step
  const int64_t* step = nullptr;         // [1] device

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{list("gradients", &GradientNorm::gradients, exactly<GradientNorm, 0>),
                      number("maxNorm", &GradientNorm::maxNorm),
                      number("lossScale", &GradientNorm::lossScale, 0x1p-126, 0x1p126).optional(),
                      writes("norm", &GradientNorm::norm, exactly<GradientNorm, 1>),
                      writes("scale", &GradientNorm::scale, exactly<GradientNorm, 1>),
                      Together{"totals", "previous"},
                      updates("totals", &GradientNorm::totals, exactly<GradientNorm, 1>).optional(),
                      reads("previous", &GradientNorm::previous, exactly<GradientNorm, 1>).optional(),
                      given(&GradientNorm::step)};
  }

  static Status check(const GradientNorm& op) {
    if (op.maxNorm > 0) return {};
    return {Code::invalidArgument, "Expected maxNorm to be above 0, got " + std::to_string(op.maxNorm)};
  }
};

/// Parts of a gradient of so many elements.
HEBB_INLINE int64_t partsOf(int64_t count) {
  const int64_t blocks = (count + GradientNorm::kBlock - 1) / GradientNorm::kBlock;
  return blocks < GradientNorm::kParts ? blocks : int64_t{GradientNorm::kParts};
}

}  // namespace hebb
