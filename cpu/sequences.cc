// Sequences of a batch: some thousand integers are copied, by one thread.
#include "hebb/sequences.h"

#include <algorithm>
#include <string>

#include "cpu.h"

namespace hebb::cpu {
namespace {

Status refuse(const std::string& expected, int64_t got) {
  return {Code::invalidArgument, "Expected " + expected + ", got " + std::to_string(got)};
}

}  // namespace

Status gatherSequences(Backend&, const GatherSequences& op) {
  const auto text = [](int64_t n) { return std::to_string(n); };
  const int64_t row = op.row(), begin = op.batches[row], end = op.batches[row + 1];
  if (begin < 0 || end < begin || end > op.planned)
    return refuse("batches that ascend within [0, " + text(op.planned) + "]", begin < 0 ? begin : end);
  if (end - begin > op.most) return refuse("at most " + text(op.most) + " sequences in a batch", end - begin);
  // Looked through before anything is written.
  int64_t columns = 0;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t s = op.plan[i];
    if (s < 0 || s >= op.sequences) return refuse("planned sequences in [0, " + text(op.sequences) + ")", s);
    const int64_t from = op.starts[s], to = op.starts[s + 1];
    if (from < 0 || to < from || to > op.total)
      return refuse("starts that ascend within [0, " + text(op.total) + "]", from < 0 ? from : to);
    columns += std::max<int64_t>(0, to - from - op.skip - op.drop);
  }
  if (columns > op.columns) return refuse("at most " + text(op.columns) + " tokens in a batch", columns);
  int32_t at = 0;
  for (int64_t i = begin; i < end; ++i) {
    const int32_t s = op.plan[i];
    const int64_t from = int64_t{op.starts[s]} + op.skip;
    const auto count = static_cast<int32_t>(std::max<int64_t>(0, int64_t{op.starts[s + 1]} - op.drop - from));
    if (op.offsets) op.offsets[i - begin] = at;
    std::copy_n(op.tokens + from, count, op.output + at);
    for (int32_t k = 0; op.positions && k < count; ++k) op.positions[at + k] = k;
    at += count;
  }
  if (op.offsets) std::fill(op.offsets + (end - begin), op.offsets + op.most + 1, at);
  *op.axis = {at, 0, at};
  return {};
}

}  // namespace hebb::cpu
