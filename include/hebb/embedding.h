// Embeddings: a row of a table for each token. Positions are tokens, too: their table is learned or one of sinusoids.
#pragma once

#include "hebb/activations.h"
#include "hebb/operands.h"

namespace hebb {

/// output[f][c] = scale table[tokens[c]][f]. Adds to output when `accumulate`. A token that is none ends the step.
struct Embedding {
  const int32_t* tokens = nullptr;  // [columns of the whole batch] device, each in [0, words)
  const float* table = nullptr;     // [words][features] device, row-major
  int64_t words = 0;
  Activations output;  // [features][columns]
  double scale = 1;
  bool accumulate = false;

  static constexpr auto operands() {
    using namespace declare;
    using Op = Embedding;
    return std::tuple{flag("accumulate", &Op::accumulate),
                      updates("output", &Op::output, exactly<Op, 0>).addsIf(&Op::accumulate),
                      integer("words", &Op::words, 1),
                      reads("tokens", &Op::tokens, outside<Op>),
                      reads("table", &Op::table, [](const Op& op, int64_t) { return op.words * op.output.features; }),
                      number("scale", &Op::scale).optional()};
  }
};

/// gradient[w][f] = scale times the sum of outputGradient[f][c] over the columns c whose token is w, in their order;
/// 0 for a word that the batch does not have. Adds to gradient when `accumulate`.
struct EmbeddingGradient {
  const int32_t* tokens = nullptr;  // [columns of the whole batch] device, each in [0, words)
  Activations outputGradient;       // [features][columns]
  int64_t words = 0;
  float* gradient = nullptr;  // [words][features] device, row-major
  double scale = 1;
  bool accumulate = false;

  static constexpr auto operands() {
    using namespace declare;
    using Op = EmbeddingGradient;
    return std::tuple{
        reads("outputGradient", &Op::outputGradient, exactly<Op, 0>),
        integer("words", &Op::words, 1),
        reads("tokens", &Op::tokens, outside<Op>),
        flag("accumulate", &Op::accumulate),
        updates("gradient", &Op::gradient, [](const Op& op, int64_t) { return op.words * op.outputGradient.features; })
            .addsIf(&Op::accumulate),
        number("scale", &Op::scale).optional()};
  }
};

}  // namespace hebb
