// A fully connected layer: a network's last one often, and what sparse layers are compared with.
#pragma once

#include "hebb/activations.h"
#include "hebb/operands.h"
#include "hebb/optimizer.h"

namespace hebb {

/// How a GPU multiplies dense matrices; the CPU has one way.
enum class DenseProduct : int32_t {
  automatic = 0,    // by the layer's rows and columns
  fma = 1,          // in fp32
  tensorCores = 2,  // in tf32, each number split into two: as precise as fp32, other bits
};

constexpr auto namesOf(DenseProduct) {
  return std::array{Named<DenseProduct>{"auto", DenseProduct::automatic}, Named<DenseProduct>{"fma", DenseProduct::fma},
                    Named<DenseProduct>{"tensorCores", DenseProduct::tensorCores}};
}

/// output = activation(W input + bias).
struct Linear {
  const float* weights = nullptr;  // [M][N] device, row-major
  const float* bias = nullptr;     // [M] device, or null
  Activations input;               // [N][columns]
  Activations output;              // [M][columns]
  Activation activation = Activation::none;
  DenseProduct product = DenseProduct::automatic;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{reads("input", &Linear::input, exactly<Linear, 0>),
                      writes("output", &Linear::output, exactly<Linear, 0>),
                      reads("weights", &Linear::weights,
                            [](const Linear& op, int64_t) { return int64_t{op.input.features} * op.output.features; }),
                      reads("bias", &Linear::bias, featuresOf<&Linear::output>).optional(),
                      choice("activation", &Linear::activation).optional(),
                      choice("product", &Linear::product).optional()};
  }
};

/// inputGradient = W^T outputGradient times the derivative of `activation` at `input`; see SpmmTransposed.
struct LinearTransposed {
  const float* weights = nullptr;  // [M][N] device, row-major
  Activations outputGradient;      // [M][columns]
  Activations inputGradient;       // [N][columns]
  Activations input;               // [N][columns]; read only when activation is not none
  Activation activation = Activation::none;
  bool accumulate = false;
  DenseProduct product = DenseProduct::automatic;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{reads("outputGradient", &LinearTransposed::outputGradient, exactly<LinearTransposed, 0>),
                      choice("activation", &LinearTransposed::activation).optional(),
                      flag("accumulate", &LinearTransposed::accumulate),
                      updates("inputGradient", &LinearTransposed::inputGradient, exactly<LinearTransposed, 0>)
                          .addsIf(&LinearTransposed::accumulate)
                          .inPlaceOf("input"),
                      reads("input", &LinearTransposed::input, featuresOf<&LinearTransposed::inputGradient>)
                          .when([](const LinearTransposed& op) { return op.activation != Activation::none; }),
                      reads("weights", &LinearTransposed::weights,
                            [](const LinearTransposed& op, int64_t) {
                              return int64_t{op.inputGradient.features} * op.outputGradient.features;
                            }),
                      choice("product", &LinearTransposed::product).optional()};
  }
};

/// gradient = outputGradient input^T; biasGradient = row sums of outputGradient. With `fusedValues` / `fusedBias` set
/// (by the engine, when nothing else reads the gradient) the optimizer's step is taken at once, and what the gradient's
/// memory holds afterwards is unspecified.
struct LinearGradient {
  Activations outputGradient;     // [M][columns]
  Activations input;              // [N][columns]
  float* gradient = nullptr;      // [M][N] device
  float* biasGradient = nullptr;  // [M] device, or null
  bool accumulate = false;
  bool accumulateBias = false;
  DenseProduct product = DenseProduct::automatic;
  SgdRule fusedValues{};
  SgdRule fusedBias{};

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{
        reads("outputGradient", &LinearGradient::outputGradient, exactly<LinearGradient, 0>),
        reads("input", &LinearGradient::input, exactly<LinearGradient, 0>),
        updates("gradient", &LinearGradient::gradient, [](const LinearGradient& op, int64_t) { return op.elements(); }),
        updates("biasGradient", &LinearGradient::biasGradient, featuresOf<&LinearGradient::outputGradient>).optional(),
        flag("accumulate", &LinearGradient::accumulate),
        flag("accumulateBias", &LinearGradient::accumulateBias, &LinearGradient::accumulate),
        choice("product", &LinearGradient::product).optional(),
        group("fusedValues", &LinearGradient::fusedValues,
              [](const LinearGradient& op, int64_t) { return op.elements(); })
            .internal(),
        group("fusedBias", &LinearGradient::fusedBias, featuresOf<&LinearGradient::outputGradient>).internal()};
  }

  int64_t elements() const { return int64_t{input.features} * outputGradient.features; }
};

}  // namespace hebb
