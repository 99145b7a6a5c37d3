// Sparse matrix times dense activations, forward and backward. The heart of a sparse layer.
#pragma once

#include "hebb/activations.h"
#include "hebb/csr.h"
#include "hebb/operands.h"

namespace hebb {

/// output = activation(W input + bias).
struct Spmm {
  Csr weights;                    // [M][N]
  const float* values = nullptr;  // [links] device, CSC order
  const float* bias = nullptr;    // [M] device, or null
  Activations input;              // [N][columns]
  Activations output;             // [M][columns]
  Activation activation = Activation::none;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{sparse("weights", &Spmm::weights),
                      reads("values", &Spmm::values, perLink<&Spmm::weights>),
                      reads("bias", &Spmm::bias, rowsOf<&Spmm::weights>).optional(),
                      reads("input", &Spmm::input, colsOf<&Spmm::weights>),
                      writes("output", &Spmm::output, rowsOf<&Spmm::weights>),
                      choice("activation", &Spmm::activation).optional()};
  }
};

/// inputGradient = W^T outputGradient, times the derivative of `activation` at `input` (the layer's input as it was
/// computed: the result is then the gradient before the previous layer's activation). Adds to inputGradient when
/// `accumulate`.
struct SpmmTransposed {
  Csr weights;                    // [M][N]
  const float* values = nullptr;  // [links] device, CSC order
  Activations outputGradient;     // [M][columns]
  Activations inputGradient;      // [N][columns]
  Activations input;              // [N][columns]; read only when activation is not none
  Activation activation = Activation::none;
  bool accumulate = false;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{
        sparse("weights", &SpmmTransposed::weights),
        reads("values", &SpmmTransposed::values, perLink<&SpmmTransposed::weights>),
        reads("outputGradient", &SpmmTransposed::outputGradient, rowsOf<&SpmmTransposed::weights>),
        choice("activation", &SpmmTransposed::activation).optional(),
        flag("accumulate", &SpmmTransposed::accumulate),
        updates("inputGradient", &SpmmTransposed::inputGradient, colsOf<&SpmmTransposed::weights>)
            .addsIf(&SpmmTransposed::accumulate)
            .inPlaceOf("input"),
        reads("input", &SpmmTransposed::input, colsOf<&SpmmTransposed::weights>).when([](const SpmmTransposed& op) {
          return op.activation != Activation::none;
        })};
  }
};

}  // namespace hebb
