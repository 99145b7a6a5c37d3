// Sampled dense-dense matrix product: the weights' gradient on the links alone.
#pragma once

#include "hebb/activations.h"
#include "hebb/csr.h"
#include "hebb/operands.h"
#include "hebb/optimizer.h"
#include "hebb/spmm.h"

namespace hebb {

/// gradient[i,j] = sum over columns of outputGradient[i] * input[j], for the links (i, j) alone; biasGradient[i] = sum
/// of outputGradient[i]. With `fusedValues` / `fusedBias` set (by the engine, when nothing else reads the gradient) the
/// optimizer's step is taken at once, and what the gradient's memory holds afterwards is unspecified. With
/// `fusedTransposed` set (by the engine, when it came just before, over the same links and the same outputGradient),
/// that operation is done as well, before the optimizer's step and with the same bits as alone.
struct Sddmm {
  Csr pattern;                    // [M][N]
  Activations outputGradient;     // [M][columns]
  Activations input;              // [N][columns]
  float* gradient = nullptr;      // [links] device, CSC order
  float* biasGradient = nullptr;  // [M] device, or null
  bool accumulate = false;        // add to the gradient instead of writing it
  bool accumulateBias = false;    // the same for the bias, which may belong to fewer or more layers than the weights
  SgdRule fusedValues;
  SgdRule fusedBias;
  SpmmTransposed fusedTransposed;  // no values: none

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{sparse("pattern", &Sddmm::pattern),
                      reads("outputGradient", &Sddmm::outputGradient, rowsOf<&Sddmm::pattern>),
                      reads("input", &Sddmm::input, colsOf<&Sddmm::pattern>),
                      updates("gradient", &Sddmm::gradient, perLink<&Sddmm::pattern>),
                      updates("biasGradient", &Sddmm::biasGradient, rowsOf<&Sddmm::pattern>).optional(),
                      flag("accumulate", &Sddmm::accumulate),
                      flag("accumulateBias", &Sddmm::accumulateBias, &Sddmm::accumulate),
                      group("fusedValues", &Sddmm::fusedValues, perLink<&Sddmm::pattern>).internal(),
                      group("fusedBias", &Sddmm::fusedBias, rowsOf<&Sddmm::pattern>).internal(),
                      group("fusedTransposed", &Sddmm::fusedTransposed, outside<Sddmm>).internal()};
  }
};

}  // namespace hebb
