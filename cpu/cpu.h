// The CPU device: threads, memory, and the level of SIMD in use.
#pragma once

#include <vector>

#include "hebb/backend.h"
#include "team.h"

namespace hebb::cpu {

/// A level is the same source compiled for one class of processors; `supported` asks this machine.
struct Level {
  const char* name;
  bool (*supported)();
  void (*bind)(Operations&);
  double denseFrom;  // see Backend
};

/// Levels of this build, the best first. The last one runs everywhere.
const std::vector<Level>& levels();

/// Columns of a panel at most: much longer rows fall into few cache sets and collapse the kernels' speed, and a panel
/// of 4096 features is still no more than a core's second cache. Against 128, products of 4096 x 4096 gain a tenth
/// (forward) to a half (sddmm); of 1568 x 1568, as much is lost as won.
inline constexpr int32_t kWidestPanel = 64;

class Cpu final : public Backend {
 public:
  Cpu(int threads, const Level& level, double denseFrom);
  const Operations& operations() const override { return operations_; }
  Status write(void* device, const void* host, size_t bytes) override;
  Status read(void* host, const void* device, size_t bytes) override;
  Status copy(void* to, const void* from, size_t bytes) override;
  Status writeActivations(const Activations& device, const float* host, int32_t columns) override;
  Status readActivations(float* host, const Activations& device, int32_t columns) override;
  int32_t panel(int32_t capacity) const override;
  double denseFrom() const override { return denseFrom_; }
  Status synchronize() override { return {}; }

  Team team;
  std::vector<double> partials;  // per-chunk partial sums of the operation that is running

 protected:
  Status allocateZeroed(size_t bytes, void** out) override;
  void releaseMemory(void* memory) override;

 private:
  Operations operations_;
  double denseFrom_;
};

/// Whether the layer's forward product multiplies dense tiles now.
inline bool isDense(const Cpu& cpu, const Csr& w) {
  return w.tiles.masks && w.rowOffsets[w.rows] >= cpu.denseFrom() * w.rows * w.cols;
}

inline Cpu& cpuOf(Backend& backend) { return static_cast<Cpu&>(backend); }

/// First row of chunk `chunk` of `chunks`: chunks of about equal work, a row costing its links and a little more.
inline int32_t firstRow(const int32_t* offsets, int32_t rows, int64_t chunk, int64_t chunks) {
  constexpr int64_t kRow = 4;
  const int64_t target = (offsets[rows] + kRow * rows) * chunk / chunks;
  int32_t low = 0, high = rows;
  while (low < high) {
    const int32_t middle = low + (high - low) / 2;
    if (offsets[middle] + kRow * middle < target) low = middle + 1;
    else high = middle;
  }
  return low;
}

/// How many chunks to cut `work` into: enough that threads can help each other, none smaller than `grain`.
inline int64_t chunksFor(const Cpu& cpu, int64_t work, int64_t grain) {
  const int64_t most = cpu.team.size() == 1 ? 1 : 4 * cpu.team.size();
  const int64_t fitting = work / grain + 1;
  return fitting < most ? fitting : most;
}

/// Columns of panel p to compute: the valid ones, up to the next multiple of 16.
inline int32_t liveColumns(const Activations& a, int32_t p) {
  int32_t live = a.columns() - p * a.panel;
  if (live > a.panel) live = a.panel;
  return live <= 0 ? 0 : (live + 15) / 16 * 16;
}

inline float* panelData(const Activations& a, int32_t p) { return a.data + p * a.panelStride(); }

// Operations that are the same at every level.
#define HEBB_DECLARE(Type, name) Status name(Backend&, const Type&);
HEBB_PLAIN_OPERATIONS(HEBB_DECLARE)
#undef HEBB_DECLARE

}  // namespace hebb::cpu
