// Optimizers. They see parallel arrays, one element a parameter, and so serve sparse and dense parameters alike.
#pragma once

#include <cstdint>
#include <string>

#include "hebb/operands.h"
#include "hebb/status.h"

namespace hebb {

/// SGD with momentum and weight decay, as PyTorch defines it: g += decay * w; m = momentum * m + g; w -= rate * m.
struct SgdRule {
  float* values = nullptr;               // [count] device; null means: no update
  float* velocity = nullptr;             // [count] device; null when momentum is 0
  const double* learningRate = nullptr;  // [1] device, in the Program's scalar table
  float momentum = 0;
  float weightDecay = 0;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{
        updates("values", &SgdRule::values, outside<SgdRule>), number("momentum", &SgdRule::momentum).optional(),
        updates("velocity", &SgdRule::velocity, outside<SgdRule>).when([](const SgdRule& rule) {
          return rule.momentum != 0;
        }),
        scalar("learningRate", &SgdRule::learningRate), number("weightDecay", &SgdRule::weightDecay).optional()};
  }
};

struct Sgd {
  SgdRule rule;
  const float* gradient = nullptr;  // [count] device
  const double* scale = nullptr;    // [1] device, or null: the gradient is multiplied by it (GradientNorm::scale)
  int64_t capacity = 0;             // elements that fit
  const int32_t* count = nullptr;   // [1] device: elements in use (a sparse layer's links); null: capacity

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{elements("pattern", "count", &Sgd::capacity, &Sgd::count),
                      group(nullptr, &Sgd::rule, numberOf<&Sgd::capacity>),
                      reads("gradient", &Sgd::gradient, numberOf<&Sgd::capacity>),
                      reads("scale", &Sgd::scale, exactly<Sgd, 1>).optional()};
  }
};

/// Adam (Kingma and Ba, 2015, algorithm 1): m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; w -= rate m' /
/// (sqrt(v') + epsilon), where m' = m / (1 - beta1^t) and v' = v / (1 - beta2^t). Weight decay is added to the
/// gradient, g += decay w, as torch.optim.Adam does it; or it is `decoupled`, w -= rate decay w before, as
/// torch.optim.AdamW does it (Loshchilov and Hutter, 2019). t counts the steps of each parameter by itself: a link that
/// is regrown, with all state 0, begins as every parameter began. With `sharedSteps` one t counts for all, as in torch:
/// a regrown link's first step is then up to (1 - beta1) / sqrt(1 - beta2) times the rate. With a warm-up, the rate is
/// min(1, t / warmup) of what is given.
struct Adam {
  float* values = nullptr;               // [count] device
  const float* gradient = nullptr;       // [count] device
  float* firstMoment = nullptr;          // [count] device: m
  float* secondMoment = nullptr;         // [count] device: v
  float* steps = nullptr;                // [count] or [1] device: t; counted up to 2^24, where the corrections are 1
  const double* learningRate = nullptr;  // [1] device, in the Program's scalar table
  const double* scale = nullptr;         // [1] device, or null: the gradient is multiplied by it (GradientNorm::scale)
  double beta1 = 0.9, beta2 = 0.999;     // in [0, 1)
  double epsilon = 1e-8;                 // above 0: a parameter whose gradients are all 0 stays what it is
  double weightDecay = 0;
  bool decoupled = false;
  bool sharedSteps = false;        // `steps` has one element, which counts for all
  double warmup = 0;               // steps; 0: none
  int64_t capacity = 0;            // elements that fit
  const int32_t* count = nullptr;  // [1] device: elements in use (a sparse layer's links); null: capacity

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{elements("pattern", "count", &Adam::capacity, &Adam::count),
                      updates("values", &Adam::values, numberOf<&Adam::capacity>),
                      reads("gradient", &Adam::gradient, numberOf<&Adam::capacity>),
                      updates("firstMoment", &Adam::firstMoment, numberOf<&Adam::capacity>),
                      updates("secondMoment", &Adam::secondMoment, numberOf<&Adam::capacity>),
                      flag("sharedSteps", &Adam::sharedSteps),
                      updates("steps", &Adam::steps,
                              [](const Adam& op, int64_t) { return op.sharedSteps ? int64_t{1} : op.capacity; }),
                      scalar("learningRate", &Adam::learningRate),
                      reads("scale", &Adam::scale, exactly<Adam, 1>).optional(),
                      number("beta1", &Adam::beta1).optional(),
                      number("beta2", &Adam::beta2).optional(),
                      number("epsilon", &Adam::epsilon).optional(),
                      number("weightDecay", &Adam::weightDecay).optional(),
                      flag("decoupled", &Adam::decoupled),
                      number("warmup", &Adam::warmup, 0, 1 << 24).optional()};
  }

  static Status check(const Adam& op) {
    for (const double beta : {op.beta1, op.beta2}) {
      if (beta >= 0 && beta < 1) continue;
      return {Code::invalidArgument,
              "Expected beta1 and beta2 to be at least 0 and below 1, got " + std::to_string(beta)};
    }
    if (static_cast<float>(op.epsilon) > 0) return {};
    return {Code::invalidArgument, "Expected epsilon to be above 0, got " + std::to_string(op.epsilon)};
  }
};

}  // namespace hebb
