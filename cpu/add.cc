// output = first + second, a vector of columns at a time; or added to output. Nothing but additions, one after the
// other: every level has the same bits.
#include "hebb/add.h"

#include "pointwise.h"

namespace hebb::cpu::HEBB_LEVEL {

Status add(Backend& backend, const Add& op) {
  eachVector(cpuOf(backend), op.output, [&](int32_t p) {
    const float* second = op.second.data ? panelData(op.second, p) : nullptr;
    return
        [first = panelData(op.first, p), second, to = panelData(op.output, p), accumulate = op.accumulate](int64_t i) {
          Vec sum = load(first + i);
          if (second) sum += load(second + i);
          if (accumulate) sum += load(to + i);
          store(to + i, sum);
        };
  });
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
