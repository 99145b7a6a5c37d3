// One thread walks through the relations, backward and then forward: what a relation clears is what the next one sees,
// so they cannot run at once.
#include "hebb/percolate.h"

#include "cpu.h"

namespace hebb::cpu {
namespace {

using Layer = Percolate::Layer;

bool rowIsEmpty(const Layer& layer, int32_t row) {
  for (int32_t k = layer.links.rowOffsets[row]; k < layer.links.rowOffsets[row + 1]; ++k) {
    if (layer.keep[layer.links.cscSlots[k]]) return false;
  }
  return true;
}

bool columnIsEmpty(const Layer& layer, int32_t column) {
  for (int32_t k = layer.links.columnOffsets[column]; k < layer.links.columnOffsets[column + 1]; ++k) {
    if (layer.keep[k]) return false;
  }
  return true;
}

void clearRow(const Layer& layer, int32_t row) {
  for (int32_t k = layer.links.rowOffsets[row]; k < layer.links.rowOffsets[row + 1]; ++k)
    layer.keep[layer.links.cscSlots[k]] = 0;
}

void clearColumn(const Layer& layer, int32_t column) {
  for (int32_t k = layer.links.columnOffsets[column]; k < layer.links.columnOffsets[column + 1]; ++k) layer.keep[k] = 0;
}

void pass(const Percolate& op, const LayerRelation& relation, bool backward) {
  const Layer& first = op.layers[static_cast<size_t>(relation.first)];
  const Layer& second = op.layers[static_cast<size_t>(relation.second)];
  for (int32_t n = 0; n < first.links.rows; ++n) {
    if (relation.kind == LayerRelation::Kind::joint) {
      if (rowIsEmpty(first, n)) clearRow(second, n);
      else if (rowIsEmpty(second, n)) clearRow(first, n);
    } else if (backward) {
      if (columnIsEmpty(second, n)) clearRow(first, n);
    } else {
      if (rowIsEmpty(first, n)) clearColumn(second, n);
    }
  }
}

}  // namespace

Status percolate(Backend&, const Percolate& op) {
  for (auto r = op.relations.rbegin(); r != op.relations.rend(); ++r) pass(op, *r, true);
  for (const LayerRelation& r : op.relations) pass(op, r, false);
  return {};
}

}  // namespace hebb::cpu
