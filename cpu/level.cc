// Compiled once per level of SIMD: enters this level's operations into the table.
#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {

void bind(Operations& table) {
  table.gather = gather;
  table.gatherLabels = gatherLabels;
  table.spmm = spmm;
  table.spmmTransposed = spmmTransposed;
  table.sddmm = sddmm;
  table.linear = linear;
  table.linearTransposed = linearTransposed;
  table.linearGradient = linearGradient;
  table.relu = relu;
  table.reluGradient = reluGradient;
  table.softmaxCrossEntropy = softmaxCrossEntropy;
  table.meanSquaredError = meanSquaredError;
  table.sgd = sgd;
  table.adam = adam;
  table.importance = importance;
  table.keepLinks = keepLinks;
  table.sampleScores = sampleScores;
  table.predictLinks = predictLinks;
  table.regrow = regrow;
  table.regrowByGradient = regrowByGradient;
}

}  // namespace hebb::cpu::HEBB_LEVEL
