// Pruning by historical weights: a layer that has a third of its pool's links takes a choice of 30% of them.
// Roofline, links and pool: openPool and restoreWeights walk both lists, and for each link of the layer look up a place
// in either and move a value; openPool writes a flag for each of the pool's. chooseFromPool reads a flag for each of
// the pool's, twice, and writes one for each of the layer's.
#include "hebb/pool.h"

#include "fixture.h"

using namespace hebb;
using namespace hebb::bench;

namespace {

struct Pooled {
  explicit Pooled(const Shape& shape) : layer(layerOf(shape)) {
    const Csr all = layer->csr();
    const std::vector<uint8_t> has = layer->flags(2. / 3);
    HostCsr some{{0}, {}};
    for (int32_t r = 0; r < all.rows; ++r) {
      for (int32_t k = all.rowOffsets[r]; k < all.rowOffsets[r + 1]; ++k) {
        if (has[static_cast<size_t>(k)]) some.columnIndices.push_back(all.columnIndices[k]);
      }
      some.rowOffsets.push_back(static_cast<int32_t>(some.columnIndices.size()));
    }
    Arrays& arrays = layer->arrays;
    matrix = matrixOf(arrays.device(), {shape.rows, shape.cols}, some, layer->links);
    links = matrix->csr();
    values = arrays.normal(layer->links);
    pool = {all, layer->values, arrays.copyOf(layer->flags(0.7))};
    changes = {arrays.zeros<uint8_t>(layer->links), arrays.zeros<int32_t>(layer->links),
               arrays.zeros<int32_t>(layer->links), arrays.one<int32_t>(0)};
    own = static_cast<double>(some.columnIndices.size());
  }
  std::shared_ptr<Layer> layer;
  std::shared_ptr<SparseMatrix> matrix;
  Csr links;
  float* values;
  Pool pool;
  LinkChanges changes;
  double own;  // links of the layer
};

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  eachLayer(options, [&](const Shape& shape) {
    cases.push_back({"openPool", shape, [=] {
      const auto p = std::make_shared<Pooled>(shape);
      const double all = p->layer->count();
      return Work{.call = running(p->layer->arrays.device(), OpenPool{p->links, p->values, p->pool}, p),
                  .items = all,
                  .traffic = {.read = 4 * all + 16 * p->own, .write = all + 4 * p->own}};
    }});
    cases.push_back({"chooseFromPool", shape, [=] {
      const auto p = std::make_shared<Pooled>(shape);
      const double all = p->layer->count();
      return Work{.call = running(p->layer->arrays.device(), ChooseFromPool{p->links, p->changes, p->pool}, p),
                  .items = all,
                  .traffic = {.read = 18 * all + 12 * p->own, .write = p->own + 8 * 0.3 * (all - p->own)}};
    }});
    cases.push_back({"restoreWeights", shape, [=] {
      const auto p = std::make_shared<Pooled>(shape);
      const double all = p->layer->count();
      return Work{.call = running(p->layer->arrays.device(), RestoreWeights{p->links, p->values, p->pool}, p),
                  .items = all,
                  .traffic = {.read = 4 * all + 16 * p->own, .write = 4 * p->own}};
    }});
  });
  runAll(cases, options);
}
