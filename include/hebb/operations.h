// The contract in one list: every operation, its name, and the table in which a backend offers it. Programs name
// operations; a backend binds them. Their structs are in headers of their own: who runs one operation compiles one.
#pragma once

#include "hebb/status.h"

// X(Type, name): struct Type holds the arguments, function name(Backend&, const Type&) runs it.
// clang-format off
/// Operations that are arithmetic on many numbers: the CPU backend compiles them once for each level of SIMD.
#define HEBB_WIDE_OPERATIONS(X)                                                                               \
  X(Gather, gather) X(GatherLabels, gatherLabels) X(GatherWeights, gatherWeights)                              \
  X(Spmm, spmm) X(SpmmTransposed, spmmTransposed) X(Sddmm, sddmm)                                             \
  X(Linear, linear) X(LinearTransposed, linearTransposed) X(LinearGradient, linearGradient)                   \
  X(Relu, relu) X(ReluGradient, reluGradient) X(Tanh, tanh) X(TanhGradient, tanhGradient)                     \
  X(Sigmoid, sigmoid) X(SigmoidGradient, sigmoidGradient) X(Silu, silu) X(SiluGradient, siluGradient)         \
  X(Gelu, gelu) X(GeluGradient, geluGradient) X(Add, add) X(Multiply, multiply) X(Dropout, dropout)           \
  X(LayerNorm, layerNorm) X(LayerNormGradient, layerNormGradient)                                             \
  X(Embedding, embedding) X(EmbeddingGradient, embeddingGradient) X(Rotate, rotate)                           \
  X(Attention, attention) X(AttentionGradient, attentionGradient)                                             \
  X(SoftmaxCrossEntropy, softmaxCrossEntropy) X(MeanSquaredError, meanSquaredError)                           \
  X(NoteTotals, noteTotals) X(SumWeights, sumWeights)                                                         \
  X(GradientNorm, gradientNorm) X(Sgd, sgd) X(Adam, adam)                                                     \
  X(Importance, importance) X(KeepLinks, keepLinks) X(SampleScores, sampleScores)                             \
  X(PredictLinks, predictLinks) X(Regrow, regrow) X(RegrowByGradient, regrowByGradient)
/// The others.
#define HEBB_PLAIN_OPERATIONS(X)                                                                              \
  X(Advance, advance) X(TakePart, takePart) X(Permute, permute) X(GatherSequences, gatherSequences)           \
  X(GatherColumns, gatherColumns) X(ScatterColumns, scatterColumns) X(TakeColumns, takeColumns)               \
  X(PutColumns, putColumns) X(Pooling, pooling) X(PoolingGradient, poolingGradient) X(Percolate, percolate)   \
  X(OpenPool, openPool) X(ChooseFromPool, chooseFromPool) X(RestoreWeights, restoreWeights)                   \
  X(BeginUpdate, beginUpdate) X(Rebuild, rebuild) X(Transpose, transpose)                                     \
  X(UniteLinks, uniteLinks) X(ReturnedLinks, returnedLinks) X(ActiveNeurons, activeNeurons)                   \
  X(InitializeNormal, initializeNormal) X(InitializeUniform, initializeUniform)
#define HEBB_OPERATIONS(X) HEBB_WIDE_OPERATIONS(X) HEBB_PLAIN_OPERATIONS(X)
// clang-format on

namespace hebb {

class Backend;
#define HEBB_TYPE(Type, name) struct Type;
HEBB_OPERATIONS(HEBB_TYPE)
#undef HEBB_TYPE

/// A backend's functions. A null entry means that the backend does not have the operation (yet).
struct Operations {
#define HEBB_FIELD(Type, name) Status (*name)(Backend&, const Type&) = nullptr;
  HEBB_OPERATIONS(HEBB_FIELD)
#undef HEBB_FIELD
};

}  // namespace hebb
