// Uniting a layer's links with those that were ever active: once where a third of the links are new to the history, and
// once where none is. Counting the new links of an update that it has removed before, and the active neurons. Roofline:
// links and history read; where there are new links, the history is read and written again, longer. As bits: links
// read, and the bitmap read and written. returnedLinks: a new link, and the flag of one link. activeNeurons: all
// offsets.
#include "hebb/history.h"

#include "fixture.h"

using namespace hebb;
using namespace hebb::bench;

namespace {

struct History {
  History(const Shape& shape, bool fresh) : layer(layerOf(shape)) {
    const Csr w = layer->csr();
    std::vector<uint64_t> ever;
    // Three quarters of the history are links of the past: none of them is a link now.
    std::mt19937_64 random(3);
    std::uniform_int_distribution<uint64_t> cell(0, static_cast<uint64_t>(w.rows) * static_cast<uint64_t>(w.cols) - 1);
    for (int64_t n = 0; n < 3 * layer->links; ++n) ever.push_back(cell(random));
    const std::vector<uint8_t> known = layer->flags(fresh ? 1. / 3 : 0);
    for (int32_t r = 0; r < w.rows; ++r) {
      for (int32_t k = w.rowOffsets[r]; k < w.rowOffsets[r + 1]; ++k) {
        const uint64_t link =
            static_cast<uint64_t>(r) * static_cast<uint64_t>(w.cols) + static_cast<uint64_t>(w.columnIndices[k]);
        if (known[static_cast<size_t>(k)]) ever.push_back(link);
        else added.push_back(link);
      }
    }
    std::sort(ever.begin(), ever.end());
    ever.erase(std::unique(ever.begin(), ever.end()), ever.end());
    const auto inHistory = [&](uint64_t link) { return std::binary_search(ever.begin(), ever.end(), link); };
    added.erase(std::remove_if(added.begin(), added.end(), inHistory), added.end());
    past = std::move(ever);
    const auto capacity = static_cast<int64_t>(past.size() + added.size());
    op = {w, layer->arrays.zeros<uint64_t>(capacity), layer->arrays.zeros<int64_t>(1), capacity};
    restore();
  }
  void restore() const {
    std::memcpy(op.ever, past.data(), past.size() * sizeof(uint64_t));
    *op.count = static_cast<int64_t>(past.size());
  }
  std::shared_ptr<Layer> layer;
  std::vector<uint64_t> past, added;
  UniteLinks op;
};

/// The same history as bits.
struct Bitmap {
  Bitmap(const Shape& shape, bool fresh) : layer(layerOf(shape)) {
    const History list(shape, fresh);
    const Csr& w = layer->csr();
    const int64_t words = UniteLinks::wordsOf(w.cols);
    past.resize(static_cast<size_t>(w.rows * words));
    for (const uint64_t cell : list.past) {
      const uint64_t row = cell / static_cast<uint64_t>(w.cols), column = cell % static_cast<uint64_t>(w.cols);
      past[row * static_cast<uint64_t>(words) + column / 64] |= uint64_t{1} << column % 64;
    }
    op = {w, nullptr, layer->arrays.one(*list.op.count), 0, layer->arrays.copyOf(past)};
  }
  void restore() const { std::memcpy(op.bits, past.data(), past.size() * sizeof(uint64_t)); }
  std::shared_ptr<Layer> layer;
  std::vector<uint64_t> past;
  UniteLinks op;
};

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  const auto unite = [&](const Shape& shape) {
    for (const bool fresh : {true, false}) {
      cases.push_back({fresh ? "uniteLinks, a third new" : "uniteLinks, none new", shape, [=] {
        const auto history = std::make_shared<History>(shape, fresh);
        const double links = history->layer->count(), past = 8. * static_cast<double>(history->past.size());
        Work work{.call = running(history->layer->arrays.device(), history->op, history),
                  .items = links,
                  .traffic = {.read = 4 * links + past}};
        if (fresh) {
          work.traffic = {.read = 4 * links,
                          .write = 8. * static_cast<double>(history->added.size()),
                          .update = past,
                          .loads = 8 * links + 2 * past};
          work.before = [history] { history->restore(); };
        }
        return work;
      }});
      cases.push_back({fresh ? "uniteLinks, bits, a third new" : "uniteLinks, bits, none new", shape, [=] {
        const auto history = std::make_shared<Bitmap>(shape, fresh);
        const double links = history->layer->count(), bits = 8. * static_cast<double>(history->past.size());
        Work work{.call = running(history->layer->arrays.device(), history->op, history),
                  .items = links,
                  .traffic = {.read = 4 * links, .update = bits}};
        if (fresh) work.before = [history] { history->restore(); };
        return work;
      }});
    }
  };
  // As CHTss begins: with half of all links.
  if (!options.quick) {
    for (const int threads : options.threads) unite(Shape{1568, 1568, 0.5, 0, threads});
  }
  eachLayer(options, [&](const Shape& shape) {
    unite(shape);
    cases.push_back({"returnedLinks", shape, [=] {
      // As many new links as were removed, of which all return.
      const auto layer = layerOf(shape);
      Arrays& arrays = layer->arrays;
      const Csr w = layer->csr();
      const std::vector<uint8_t> keep = layer->flags(0.3);
      std::vector<int32_t> rows, columns;
      for (int32_t r = 0; r < w.rows; ++r) {
        for (int32_t k = w.rowOffsets[r]; k < w.rowOffsets[r + 1]; ++k) {
          if (keep[static_cast<size_t>(w.cscSlots[k])]) continue;
          rows.push_back(r);
          columns.push_back(w.columnIndices[k]);
        }
      }
      const LinkChanges changes{arrays.copyOf(keep), arrays.copyOf(rows), arrays.copyOf(columns),
                                arrays.one(static_cast<int32_t>(rows.size()))};
      const double fresh = static_cast<double>(rows.size());
      return Work{.call = running(arrays.device(), ReturnedLinks{w, changes, arrays.zeros<int32_t>(2)}, layer),
                  .item = "new link",
                  .items = fresh,
                  .traffic = {.read = 13 * fresh}};
    }});
    cases.push_back({"activeNeurons", shape, [=] {
      const auto layer = layerOf(shape);
      const double neurons = static_cast<double>(shape.rows) + shape.cols;
      return Work{
          .call = running(layer->arrays.device(), ActiveNeurons{layer->csr(), layer->arrays.zeros<int32_t>(3)}, layer),
          .item = "neuron",
          .items = neurons,
          .traffic = {.read = 4 * neurons}};
    }});
  });
  runAll(cases, options);
}
