// What a kernel finds wrong in its data: an index that is no sample, a loss that is not finite. The host does not wait
// for each step, so the device stops by itself: the kernel that finds it writes one record in device memory, and every
// operation queued after it reads the record first and changes nothing, the step counter included. The host reads the
// record once, when it waits for the end of what it queued (Cuda::synchronize): it reports what the CPU reports, finds
// the number of the step in the step counter, and the weights, the sums, the links and the activations as the CPU
// leaves them.
//
// An operation can fail in several places at once. The one with the lowest place is reported, so that it is the same in
// every run.
#pragma once

#include <cstdint>

#include "hebb/status.h"

namespace hebb::cuda {

enum class Problem : int32_t {
  none = 0,
  gatherIndex,               // place in the stream, limit: samples
  gatherLabelsIndex,         // place in the stream, limit: samples
  gatherWeightsIndex,        // place in the stream, limit: samples
  batchOfPlan,               // limit: sequences planned
  batchSequences,            // limit: sequences that fit
  batchTokens,               // limit: tokens that fit
  plannedSequence,           // limit: sequences
  sequenceStart,             // limit: tokens
  gatherColumnsIndex,        // place: column, limit: columns that fit
  scatterColumnsIndex,       // place: column, limit: columns that fit
  embeddingToken,            // place: column, limit: words
  embeddingGradientToken,    // place: column, limit: words
  attentionQueries,          // place: sequence, limit: columns
  attentionKeys,             // place: sequence, limit: columns
  attentionGradientQueries,  // place: sequence, limit: columns
  attentionGradientKeys,     // place: sequence, limit: columns
  poolingOffsets,            // place: sequence, limit: columns
  poolingGradientOffsets,    // place: sequence, limit: columns
  target,                    // place: column, limit: classes
  crossEntropyLoss,          // place: step
  squaredErrorLoss,          // place: step
  gradientNorm,              // place: step
  score,                     // place: row << 32 | column of the link, layer
  rebuiltLinks,              // limit: capacity
  pooledLinks,               // limit: capacity
  regrownLinks,              // limit: links that the layer can hold, layer
  gradientLinks,             // limit: links that the layer can hold, layer
  gradient,                  // place: row << 32 | column of the link, layer
  history,                   // place: capacity
};

struct Failure {
  Problem problem = Problem::none;
  int64_t limit = 0;
  int64_t place = 0;
  double got = 0;
  int32_t layer = 0;
};

/// As an error of the operation, in the words of the CPU.
Status statusOf(const Failure& failure);

}  // namespace hebb::cuda
