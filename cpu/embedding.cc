// Rows of a table become columns, and in the gradient columns are added to rows. Bound by the table's rows: a batch
// reads some thousand of them, and the gradient writes all.
#include "hebb/embedding.h"

#include <algorithm>
#include <string>

#include "cpu.h"
#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

/// Whether the columns' tokens are words: they lie in memory that anyone may write.
Status checkTokens(const int32_t* tokens, const Activations& a, int64_t words) {
  for (int32_t c = a.firstColumn(), end = c + a.columns(); c < end; ++c) {
    if (tokens[c] >= 0 && tokens[c] < words) continue;
    return {Code::invalidArgument, "Expected tokens in [0, " + std::to_string(words) + "), got " +
                                       std::to_string(tokens[c]) + " in column " + std::to_string(c)};
  }
  return {};
}

}  // namespace

Status embedding(Backend& backend, const Embedding& op) {
  Cpu& cpu = cpuOf(backend);
  const Activations& out = op.output;
  HEBB_RETURN_IF_ERROR(checkTokens(op.tokens, out, op.words));
  constexpr int kGroup = 16;  // columns that are written side by side
  const int32_t features = out.features, groups = (out.columns() + kGroup - 1) / kGroup;
  const int32_t* const tokens = op.tokens + out.firstColumn();
  const auto scale = static_cast<float>(op.scale);
  const int64_t chunks = std::min<int64_t>(groups, chunksFor(cpu, int64_t{groups} * features, 512));
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    for (int64_t g = groups * chunk / chunks, end = groups * (chunk + 1) / chunks; g < end; ++g) {
      const auto column = static_cast<int32_t>(g) * kGroup, valid = std::min(kGroup, out.columns() - column);
      const float* rows[kGroup];
      for (int i = 0; i < kGroup; ++i) rows[i] = op.table + int64_t{tokens[column + std::min(i, valid - 1)]} * features;
      float* to = panelData(out, column / out.panel) + column % out.panel;
      for (int32_t f = 0; f < features; ++f, to += out.panel) {
        float x[kGroup];
        for (int i = 0; i < kGroup; ++i) x[i] = i < valid ? rows[i][f] * scale : 0.f;
        for (int i = 0; i < kGroup; i += W) store(to + i, op.accumulate ? load(to + i) + load(x + i) : load(x + i));
      }
    }
  });
  return {};
}

Status embeddingGradient(Backend& backend, const EmbeddingGradient& op) {
  Cpu& cpu = cpuOf(backend);
  const Activations& dy = op.outputGradient;
  HEBB_RETURN_IF_ERROR(checkTokens(op.tokens, dy, op.words));
  constexpr int32_t kStrip = 64;  // features of a chunk: their lines of the gradient stay near for 16 columns
  const int32_t features = dy.features, strips = (features + kStrip - 1) / kStrip;
  const int32_t* const tokens = op.tokens + dy.firstColumn();
  const auto scale = static_cast<float>(op.scale);
  cpu.team.parallel(strips, [&](int64_t strip, int) {
    const int32_t begin = static_cast<int32_t>(strip) * kStrip, count = std::min(kStrip, features - begin);
    for (int64_t w = 0; !op.accumulate && w < op.words; ++w)
      std::fill_n(op.gradient + w * features + begin, count, 0.f);
    for (int32_t c = 0; c < dy.columns(); ++c) {
      const float* const from = panelData(dy, c / dy.panel) + int64_t{begin} * dy.panel + c % dy.panel;
      float* const to = op.gradient + int64_t{tokens[c]} * features + begin;
      for (int32_t f = 0; f < count; ++f) to[f] += from[int64_t{f} * dy.panel] * scale;
    }
  });
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
