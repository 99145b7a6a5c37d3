// How much a link matters: the scores by which a remove rule ranks the links of a layer.
#pragma once

#include <cstdint>

#include "hebb/csr.h"
#include "hebb/operands.h"

namespace hebb {

enum class ImportanceRule : int32_t {
  /// |w|
  magnitude = 0,
  /// |w_ij| / sum_i |w_ij| + |w_ij| / sum_j |w_ij| (relative importance: column sum and row sum, over kept links)
  relative = 1,
  /// |w| + share |dL/dw| (MEST; Yuan et al., NeurIPS 2021)
  gradient = 2,
};

constexpr auto namesOf(ImportanceRule) {
  return std::array{Named<ImportanceRule>{"magnitude", ImportanceRule::magnitude},
                    Named<ImportanceRule>{"relative", ImportanceRule::relative},
                    Named<ImportanceRule>{"magnitude+gradient", ImportanceRule::gradient}};
}

/// scores[l] of every link l with keep[l]; the others are left as they are.
struct Importance {
  Csr links;
  const float* values = nullptr;  // [links] device
  const uint8_t* keep = nullptr;  // [links] device
  ImportanceRule rule = ImportanceRule::magnitude;
  float* scores = nullptr;          // [links] device
  const float* gradient = nullptr;  // [links] device; read by the rule `gradient` alone
  float share = 0;                  // of the gradient

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{
        sparse("links", &Importance::links),
        reads("values", &Importance::values, perLink<&Importance::links>),
        reads("keep", &Importance::keep, perLink<&Importance::links>),
        choice("rule", &Importance::rule),
        updates("scores", &Importance::scores, perLink<&Importance::links>).transient(),
        reads("gradient", &Importance::gradient, perLink<&Importance::links>).when([](const Importance& op) {
          return op.rule == ImportanceRule::gradient;
        }),
        number("share", &Importance::share, 0).optional()};
  }
};

}  // namespace hebb
