// output = first * second, a vector of columns at a time; or added to output. The product is rounded before it is
// added, so that every level has the same bits, and a GPU. Bound by memory: 12 bytes an element, 16 when it adds.
#include "hebb/multiply.h"

#include "pointwise.h"

namespace hebb::cpu::HEBB_LEVEL {

Status multiply(Backend& backend, const Multiply& op) {
  eachVector(cpuOf(backend), op.output, [&](int32_t p) {
    return [first = panelData(op.first, p), second = panelData(op.second, p), to = panelData(op.output, p),
            accumulate = op.accumulate](int64_t i) {
      Vec product = load(first + i) * load(second + i);
      if (accumulate) product += load(to + i);
      store(to + i, product);
    };
  });
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
