// Opening and closing a topology update that replaces 30% of the links, with weights and velocities to move; and the
// column view alone. Two topologies of the same layer take repetitions: what one rebuild removes the next one brings
// back. Roofline: beginUpdate writes a flag a link. rebuild reads flags and new links, reads and writes columns,
// weights and velocities, and writes the column view. transpose counts and then fills: two scattered additions a link
// (rebuild ends with it), the columns read and the column view written.
#include "hebb/rebuild.h"

#include "fixture.h"

using namespace hebb;
using namespace hebb::bench;

namespace {

/// What repetitions the links of `from` into those of `to`.
LinkChanges changesBetween(Arrays& arrays, const HostCsr& from, const HostCsr& to) {
  std::vector<uint8_t> keep(from.columnIndices.size());
  std::vector<int32_t> newRows, newColumns;
  const auto rowOf = [](const HostCsr& links, size_t r) {
    return std::pair(links.columnIndices.begin() + links.rowOffsets[r],
                     links.columnIndices.begin() + links.rowOffsets[r + 1]);
  };
  for (size_t r = 0; r + 1 < from.rowOffsets.size(); ++r) {
    const auto [oldBegin, oldEnd] = rowOf(from, r);
    const auto [newBegin, newEnd] = rowOf(to, r);
    for (auto at = oldBegin; at != oldEnd; ++at)
      keep[static_cast<size_t>(at - from.columnIndices.begin())] = std::binary_search(newBegin, newEnd, *at);
    for (auto at = newBegin; at != newEnd; ++at) {
      if (std::binary_search(oldBegin, oldEnd, *at)) continue;
      newRows.push_back(static_cast<int32_t>(r));
      newColumns.push_back(*at);
    }
  }
  return {arrays.copyOf(keep), arrays.copyOf(newRows), arrays.copyOf(newColumns),
          arrays.one(static_cast<int32_t>(newRows.size()))};
}

HostCsr hostOf(const Csr& w) {
  return {{w.rowOffsets, w.rowOffsets + w.rows + 1}, {w.columnIndices, w.columnIndices + w.rowOffsets[w.rows]}};
}

struct Repetitions {
  explicit Repetitions(const Shape& shape) : layer(layerOf(shape)), arrays(layer->arrays) {
    const Csr links = layer->csr();
    const HostCsr first = hostOf(links);
    LinkChanges removed{arrays.copyOf(layer->flags(0.3)), arrays.zeros<int32_t>(links.capacity),
                        arrays.zeros<int32_t>(links.capacity), arrays.zeros<int32_t>(1)};
    must(arrays.device()->run(Regrow{
        .links = links, .changes = removed, .count = arrays.one(layer->count()), .update = arrays.one(1.), .seed = 1}));
    const std::vector<float*> state{layer->values, arrays.normal(layer->links)};
    must(arrays.device()->run(Rebuild{links, removed, state}));
    const HostCsr second = hostOf(links);
    repetitions[0] = Rebuild{links, changesBetween(arrays, second, first), state};
    repetitions[1] = Rebuild{links, changesBetween(arrays, first, second), state};
    fresh = *std::get<Rebuild>(repetitions[0]).changes.newCount;
  }
  std::shared_ptr<Layer> layer;
  Arrays& arrays;
  Operation repetitions[2];
  int turn = 0;
  double fresh;
};

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  eachLayer(options, [&](const Shape& shape) {
    cases.push_back({"beginUpdate", shape, [=] {
      const auto layer = layerOf(shape);
      const BeginUpdate op{
          layer->csr(),
          {layer->arrays.zeros<uint8_t>(layer->links), nullptr, nullptr, layer->arrays.zeros<int32_t>(1)}};
      return Work{.call = running(layer->arrays.device(), op, layer),
                  .items = layer->count(),
                  .traffic = {.write = layer->count()}};
    }});
    cases.push_back({"rebuild", shape, [=] {
      const auto repetitions = std::make_shared<Repetitions>(shape);
      const double links = repetitions->layer->count();
      const auto call = [repetitions, device = repetitions->arrays.device()] {
        must(device->run(repetitions->repetitions[repetitions->turn]));
        repetitions->turn ^= 1;
      };
      return Work{.call = call,
                  .items = links,
                  .traffic = {.read = links + 8 * repetitions->fresh,
                              .write = 8 * links,
                              .update = 12 * links,
                              .scattered = 2 * links}};
    }});
    cases.push_back({"transpose", shape, [=] {
      const auto layer = layerOf(shape);
      return Work{.call = running(layer->arrays.device(), Transpose{layer->csr()}, layer),
                  .items = layer->count(),
                  .traffic = {.read = 4 * layer->count(),
                              .write = 8 * layer->count(),
                              .loads = 8 * layer->count(),
                              .scattered = 2 * layer->count()}};
    }});
  });
  runAll(cases, options);
}
