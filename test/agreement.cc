// The CPU and a GPU, real or emulated, decide alike, bit for bit: transposed links, scores of missing links, removals,
// new links, rebuilt layers, and samples. Shapes go where mocha does not: tables that overflow. The dense route of link
// prediction is told apart: how far its scores are off, and how many of its new links differ.
// hebb_agreement [rows cols links hubs(0 or 1) [paths]]; exits with 1 at the first difference.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "hebb/any_operation.h"
#include "hebb/backend.h"
#include "hebb/topology.h"

namespace {

using namespace hebb;

[[noreturn]] void fail(const std::string& what) {
  std::printf("%s\n", what.c_str());
  std::exit(1);
}

void expect(const Status& status, const char* what) {
  if (!status.ok()) fail(std::string(what) + ": " + status.message());
}

/// A layer on one device, and all that an update of it takes.
class Layer {
 public:
  Layer(Backend& device, int32_t rows, int32_t cols, int32_t capacity, const HostCsr& links) : device_(device) {
    csr = {rows,
           cols,
           capacity,
           memory<int32_t>(rows + 1),
           memory<int32_t>(capacity),
           memory<int32_t>(cols + 1),
           memory<int32_t>(capacity),
           memory<int32_t>(capacity)};
    changes = {memory<uint8_t>(capacity), memory<int32_t>(capacity), memory<int32_t>(capacity), memory<int32_t>(1)};
    values = memory<float>(capacity);
    scores = memory<float>(capacity);
    scalars = memory<double>(4);
    write(csr.rowOffsets, links.rowOffsets);
    write(csr.columnIndices, links.columnIndices);
    run(&Operations::transpose, Transpose{csr}, "transpose");
  }
  ~Layer() {
    for (const auto& [pointer, bytes] : held_) device_.release(pointer, bytes);
  }
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  template <class Op>
  void run(Status (*Operations::*operation)(Backend&, const Op&), const Op& op, const char* name) {
    expect((device_.operations().*operation)(device_, op), name);
    expect(device_.synchronize(), name);
  }
  template <class T>
  void write(T* to, const std::vector<T>& from) {
    expect(device_.write(to, from.data(), from.size() * sizeof(T)), "write");
  }
  template <class T>
  std::vector<T> read(const T* from, int64_t count) {
    std::vector<T> to(static_cast<size_t>(count));
    expect(device_.read(to.data(), from, to.size() * sizeof(T)), "read");
    return to;
  }
  int32_t links() { return read(csr.rowOffsets + csr.rows, 1)[0]; }

  Csr csr;
  LinkChanges changes;
  float *values, *scores;
  double* scalars;

 private:
  template <class T>
  T* memory(int64_t count) {
    void* pointer = nullptr;
    const size_t bytes = static_cast<size_t>(count) * sizeof(T);
    expect(device_.allocate(bytes, &pointer), "allocate");
    held_.emplace_back(pointer, bytes);
    return static_cast<T*>(pointer);
  }
  Backend& device_;
  std::vector<std::pair<void*, size_t>> held_;
};

template <class T>
void same(const std::vector<T>& a, const std::vector<T>& b, const char* what) {
  if (a.size() != b.size())
    fail(std::string("different numbers of ") + what + ": " + std::to_string(a.size()) + " and " +
         std::to_string(b.size()));
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(T)) != 0) fail(std::string("different ") + what + " at " + std::to_string(i));
  }
}

HostCsr withHubs(int32_t rows, int32_t cols, int64_t links) {
  std::mt19937 random(7);
  const auto skewed = [&](int32_t range) {
    return static_cast<int32_t>(std::pow(static_cast<double>(random()) * 0x1p-32, 4) * range);
  };
  std::set<std::pair<int32_t, int32_t>> cells;
  while (static_cast<int64_t>(cells.size()) < links) cells.emplace(skewed(rows), skewed(cols));
  HostCsr csr;
  csr.rowOffsets.assign(static_cast<size_t>(rows) + 1, 0);
  for (const auto& [row, column] : cells) {
    ++csr.rowOffsets[static_cast<size_t>(row) + 1];
    csr.columnIndices.push_back(column);
  }
  for (size_t row = 0; row < static_cast<size_t>(rows); ++row) csr.rowOffsets[row + 1] += csr.rowOffsets[row];
  return csr;
}

struct Shape {
  int32_t rows, cols;
  int64_t links;
  bool hubs;
  bool dense = false;  // the GPU's dense route, too: it takes an emulated one long
  // Links are predicted by paths: a barrier for each step of a walk, which takes an emulated GPU long.
  bool paths = false;
};

/// The new links of an update, by row, then column.
std::vector<std::pair<int32_t, int32_t>> newLinks(Layer& layer) {
  const int32_t count = layer.read(layer.changes.newCount, 1)[0];
  const std::vector<int32_t> rows = layer.read(layer.changes.newRows, count),
                             columns = layer.read(layer.changes.newColumns, count);
  std::vector<std::pair<int32_t, int32_t>> links;
  for (size_t n = 0; n < rows.size(); ++n) links.emplace_back(rows[n], columns[n]);
  return links;
}

void compare(Backend& cpu, Backend& gpu, const Shape& shape) {
  HostCsr links;
  if (shape.hubs) links = withHubs(shape.rows, shape.cols, shape.links);
  else expect(networks::erdosRenyi(shape.rows, shape.cols, shape.links, 1, 0, &links), "erdosRenyi");
  const int32_t given = static_cast<int32_t>(shape.links), capacity = given + given / 4 + 3;
  Layer a(cpu, shape.rows, shape.cols, capacity, links), b(gpu, shape.rows, shape.cols, capacity, links);
  const auto sameLinks = [&] {
    const int32_t now = a.links();
    same(a.read(a.csr.rowOffsets, shape.rows + 1), b.read(b.csr.rowOffsets, shape.rows + 1), "rowOffsets");
    same(a.read(a.csr.columnOffsets, shape.cols + 1), b.read(b.csr.columnOffsets, shape.cols + 1), "columnOffsets");
    same(a.read(a.csr.columnIndices, now), b.read(b.csr.columnIndices, now), "columnIndices");
    same(a.read(a.csr.rowIndices, now), b.read(b.csr.rowIndices, now), "rowIndices");
    same(a.read(a.csr.cscSlots, now), b.read(b.csr.cscSlots, now), "cscSlots");
  };
  sameLinks();
  size_t found = 0, grown = 0, differing = 0;
  double worst = 0;
  for (const LinkPredictor predictor :
       {LinkPredictor::ch2L3n, LinkPredictor::ch3L3n, LinkPredictor::ch2L3p, LinkPredictor::ch3L3p}) {
    if (isByPaths(predictor) && !shape.paths) continue;
    LinkScores x, y;
    a.run(&Operations::predictLinks, PredictLinks{a.csr, predictor, &x, PredictionRoute::sparse}, "predictLinks");
    b.run(&Operations::predictLinks, PredictLinks{b.csr, predictor, &y, PredictionRoute::sparse}, "predictLinks");
    same(x.row, y.row, "rows");
    same(x.col, y.col, "columns");
    same(x.score, y.score, "scores");
    found = x.score.size();
    if (!shape.dense || isByPaths(predictor)) continue;
    b.run(&Operations::predictLinks, PredictLinks{b.csr, predictor, &y, PredictionRoute::dense}, "predictLinks");
    same(x.row, y.row, "rows by the dense route");
    same(x.col, y.col, "columns by the dense route");
    for (size_t n = 0; n < x.score.size(); ++n)
      worst = std::max(worst, std::abs(static_cast<double>(y.score[n]) / x.score[n] - 1));
  }
  // Both round: the sparse route's sums of n numbers in fp32 by n / 2 units in the last place at most.
  if (worst > 1e-6 + 6e-8 * (shape.rows + shape.cols))
    fail("the dense route's scores are off by " + std::to_string(worst));
  std::mt19937 random(3);
  std::vector<float> values(static_cast<size_t>(capacity));
  for (float& value : values) value = static_cast<float>(random() % 2001) / 1000.f - 1.f;  // with ties, and zeros
  a.write(a.values, values);
  b.write(b.values, values);
  for (int update = 0; update < 4; ++update) {
    const int32_t now = a.links();
    const double cells = static_cast<double>(shape.rows) * shape.cols;
    const std::vector<double> scalars{std::floor(now * 0.7), 1.5, static_cast<double>(update),
                                      std::min(cells, update == 2 ? std::min(capacity, now + given / 5) : now * 1.)};
    std::vector<std::pair<int32_t, int32_t>> byTiles;
    for (Layer* layer : {&a, &b}) {
      layer->write(layer->scalars, scalars);
      layer->run(&Operations::beginUpdate, BeginUpdate{layer->csr, layer->changes}, "beginUpdate");
      const ImportanceRule rule = update % 2 ? ImportanceRule::relative : ImportanceRule::magnitude;
      layer->run(&Operations::importance,
                 Importance{layer->csr, layer->values, layer->changes.keep, rule, layer->scores}, "importance");
      KeepLinks keep;
      keep.links = layer->csr;
      keep.scores = layer->scores;
      keep.keep = layer->changes.keep;
      keep.count = layer->scalars;
      keep.temperature = update == 1 ? nullptr : layer->scalars + 1;
      keep.update = layer->scalars + 2;
      keep.seed = 9;
      layer->run(&Operations::keepLinks, keep, "keepLinks");
      Regrow grow;
      grow.links = layer->csr;
      grow.changes = layer->changes;
      if (shape.paths)
        grow.predictor = update == 3 ? LinkPredictor::none : update % 2 ? LinkPredictor::ch3L3p : LinkPredictor::ch2L3p;
      else
        grow.predictor = update == 3 ? LinkPredictor::none : update % 2 ? LinkPredictor::ch3L3n : LinkPredictor::ch2L3n;
      grow.route = PredictionRoute::sparse;
      grow.selection = update == 2 ? Selection::largest : Selection::sample;
      grow.count = layer->scalars + 3;
      grow.update = layer->scalars + 2;
      grow.seed = 11;
      if (layer == &b && shape.dense && grow.predictor != LinkPredictor::none) {
        grow.route = PredictionRoute::dense;
        layer->run(&Operations::regrow, grow, "regrow by the dense route");
        byTiles = newLinks(b);
        grow.route = PredictionRoute::sparse;
      }
      layer->run(&Operations::regrow, grow, "regrow");
    }
    same(a.read(a.changes.keep, now), b.read(b.changes.keep, now), "flags");
    same(a.read(a.changes.newCount, 1), b.read(b.changes.newCount, 1), "counts of new links");
    const int32_t added = a.read(a.changes.newCount, 1)[0];
    same(a.read(a.changes.newRows, added), b.read(b.changes.newRows, added), "new rows");
    same(a.read(a.changes.newColumns, added), b.read(b.changes.newColumns, added), "new columns");
    if (shape.dense && update != 3) {
      const std::vector<std::pair<int32_t, int32_t>> byRows = newLinks(a);
      if (byRows.size() != byTiles.size())
        fail("the dense route grows " + std::to_string(byTiles.size()) + " links in place of " +
             std::to_string(byRows.size()));
      std::vector<std::pair<int32_t, int32_t>> others;
      std::set_difference(byTiles.begin(), byTiles.end(), byRows.begin(), byRows.end(), std::back_inserter(others));
      grown += byRows.size();
      differing += others.size();
    }
    for (Layer* layer : {&a, &b})
      layer->run(&Operations::rebuild, Rebuild{layer->csr, layer->changes, {layer->values}}, "rebuild");
    sameLinks();
    same(a.read(a.values, a.links()), b.read(b.values, b.links()), "values");
  }
  std::printf("%d x %d, %d links%s: %zu scores and 4 updates alike\n", shape.rows, shape.cols, given,
              shape.hubs ? " with hubs" : "", found);
  if (shape.dense)
    std::printf("  dense route: scores within %.1e, %zu of %zu new links differ\n", worst, differing, grown);
  std::fflush(stdout);
}

void compareSamples(Backend& cpu, Backend& gpu) {
  std::mt19937 random(5);
  for (const int64_t n : {1, 2, 31, 3000}) {
    std::vector<float> scores(static_cast<size_t>(n));
    for (float& score : scores) score = random() % 3 ? static_cast<float>(random()) * 0x1p-32f : 0.f;
    const auto sample = [&](Backend& device, int64_t k, std::vector<int64_t>* out) {
      SampleScores op;
      op.scores = scores.data();
      op.n = n;
      op.k = k;
      op.temperature = 2;
      op.seed = 4;
      op.indices = out;
      return device.operations().sampleScores(device, op);
    };
    std::vector<int64_t> x, y;
    for (const int64_t k : {int64_t{0}, int64_t{1}, n / 2, n}) {
      expect(sample(cpu, k, &x), "sampleScores");
      expect(sample(gpu, k, &y), "sampleScores");
      same(x, y, "samples");
    }
    scores[static_cast<size_t>(n / 2)] = -1;
    const Status onCpu = sample(cpu, 1, &x), onGpu = sample(gpu, 1, &y);
    if (onGpu.code() != Code::nonFinite || onGpu.message() != onCpu.message())
      fail("a bad score is not refused: " + onGpu.message());
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::unique_ptr<Backend> cpu, gpu;
  DeviceInfo info;
  expect(openCpu({}, &cpu, &info), "the CPU");
  expect(openCuda(0, &gpu, &info), "the GPU");
  std::vector<Shape> shapes{
      {37, 61, 200, false, true}, {300, 200, 1500, false, true}, {1, 3000, 40, false},      {3000, 1, 40, false},
      {200, 5000, 3000, false},   {5000, 200, 3000, false},      {3000, 4000, 9000, false}, {2500, 2500, 9000, true},
      {100, 20000, 4000, true},   {60, 50, 2000, false, true},   {20, 30, 0, false},        {20, 30, 599, false, true},
      {20, 30, 600, false}};
  for (const Shape& shape : {Shape{37, 61, 200, false, false, true}, Shape{1, 3000, 40, false, false, true},
                             Shape{12, 5000, 2400, false, false, true}, Shape{5000, 200, 1500, false, false, true},
                             Shape{2500, 2500, 1500, true, false, true}, Shape{20, 30, 599, false, false, true}}) {
    shapes.push_back(shape);
  }
#if defined(__SANITIZE_ADDRESS__)
  // Which makes the larger ones take minutes, and sees in the others what there is to see: they overflow tables, too.
  std::erase_if(shapes, [](const Shape& shape) { return int64_t{shape.rows} * shape.cols > 1500000; });
#endif
  if (argc == 5 || argc == 6)
    shapes = {{std::atoi(argv[1]), std::atoi(argv[2]), std::atoll(argv[3]), std::atoi(argv[4]) != 0,
               argc == 5 && std::atoi(argv[1]) <= 8192 && std::atoi(argv[2]) <= 8192, argc == 6}};
  for (const Shape& shape : shapes) compare(*cpu, *gpu, shape);
  compareSamples(*cpu, *gpu);
  std::printf("all alike on %s\n", info.name.c_str());
}
