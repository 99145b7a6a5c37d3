// Clustering counts, for each neuron, the paths of two links to others of its side (exact), or draws paths of three
// links and looks whether their ends are linked (sampled). Path lengths are those of breadth-first searches from each
// active neuron, 64 at a time, or from a sample of them. Percolation follows a list of neurons that lost their last
// link on a side. Roofline: links passed, each a random access to memory.
#include "hebb/describe.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "../cpu/distinct.h"
#include "../cpu/team.h"

namespace hebb::networks {
namespace {

// Of three links, for a sampled clustering: its standard error is then at most 0.0011.
constexpr int64_t kPaths = 200'000;
constexpr int64_t kFewestSources = 16;  // of sampled path lengths
constexpr int64_t kShared = 16;         // searches that are done in the steps of one, when all neurons are sources
// What draws are for: the third word of their counters.
constexpr uint32_t kSources = 1, kThreePaths = 2;

using Offsets = std::vector<int32_t>;

/// Both views of a layer's links.
struct Views {
  int32_t rows, cols;
  const HostCsr* byRow;
  HostCsr byColumn;  // its rows are the columns
};

Views viewsOf(const DescribedLayer& layer) {
  Views v{layer.rows, layer.cols, &layer.links, {}};
  Offsets& offsets = v.byColumn.rowOffsets;
  offsets.assign(static_cast<size_t>(layer.cols) + 1, 0);
  for (int32_t c : layer.links.columnIndices) ++offsets[static_cast<size_t>(c) + 1];
  for (size_t c = 0; c < static_cast<size_t>(layer.cols); ++c) offsets[c + 1] += offsets[c];
  Offsets next(offsets.begin(), offsets.end() - 1);
  v.byColumn.columnIndices.resize(layer.links.columnIndices.size());
  for (int32_t r = 0; r < layer.rows; ++r) {
    for (int32_t k = layer.links.rowOffsets[static_cast<size_t>(r)];
         k < layer.links.rowOffsets[static_cast<size_t>(r) + 1]; ++k) {
      const auto c = static_cast<size_t>(layer.links.columnIndices[static_cast<size_t>(k)]);
      v.byColumn.columnIndices[static_cast<size_t>(next[c]++)] = r;
    }
  }
  return v;
}

int32_t degreeOf(const HostCsr& links, int32_t neuron) {
  return links.rowOffsets[static_cast<size_t>(neuron) + 1] - links.rowOffsets[static_cast<size_t>(neuron)];
}

/// Calls visit(other) for the neurons that `neuron` is linked to.
template <class Visit>
void eachPartner(const HostCsr& links, int32_t neuron, const Visit& visit) {
  for (int32_t k = links.rowOffsets[static_cast<size_t>(neuron)]; k < links.rowOffsets[static_cast<size_t>(neuron) + 1];
       ++k)
    visit(links.columnIndices[static_cast<size_t>(k)]);
}

DegreeCounts degreesOf(const HostCsr& links) {
  const auto neurons = static_cast<int32_t>(links.rowOffsets.size()) - 1;
  std::vector<int32_t> degrees(static_cast<size_t>(neurons));
  for (int32_t i = 0; i < neurons; ++i) degrees[static_cast<size_t>(i)] = degreeOf(links, i);
  std::sort(degrees.begin(), degrees.end());
  DegreeCounts counts;
  for (int32_t d : degrees) {
    if (counts.degrees.empty() || counts.degrees.back() != d) {
      counts.degrees.push_back(d);
      counts.neurons.push_back(0);
    }
    ++counts.neurons.back();
  }
  return counts;
}

/// Paths of two links with a neuron of this side in the middle, there and back included.
double squareSum(const HostCsr& links, int32_t neurons) {
  double sum = 0;
  for (int32_t i = 0; i < neurons; ++i) sum += static_cast<double>(degreeOf(links, i)) * degreeOf(links, i);
  return sum;
}

Estimate clusteringOf(const Views& v, const DescribeOptions& options, uint32_t purpose, cpu::Team& team,
                      const std::atomic<bool>* stop) {
  const HostCsr &byRow = *v.byRow, &byColumn = v.byColumn;
  // Paths of three links by their middle one, summed up.
  std::vector<double> paths(byRow.columnIndices.size() + 1, 0);
  for (int32_t r = 0; r < v.rows; ++r) {
    for (int32_t k = byRow.rowOffsets[static_cast<size_t>(r)]; k < byRow.rowOffsets[static_cast<size_t>(r) + 1]; ++k) {
      const int32_t c = byRow.columnIndices[static_cast<size_t>(k)];
      paths[static_cast<size_t>(k) + 1] =
          paths[static_cast<size_t>(k)] + (degreeOf(byRow, r) - 1.0) * (degreeOf(byColumn, c) - 1.0);
    }
  }
  const double total = paths.back();
  if (total == 0) return {std::numeric_limits<double>::quiet_NaN(), 0};

  // From the side where the walk over the other one is shorter.
  const double viaColumns = squareSum(byColumn, v.cols), viaRows = squareSum(byRow, v.rows);
  if (std::min(viaColumns, viaRows) <= static_cast<double>(options.exactUpTo)) {
    const HostCsr &from = viaColumns <= viaRows ? byRow : byColumn, &via = viaColumns <= viaRows ? byColumn : byRow;
    const auto neurons = static_cast<int32_t>(from.rowOffsets.size()) - 1;
    struct Counts {
      std::vector<int32_t> shared, touched;
      double cycles = 0;  // whole numbers: their sum does not depend on the order below 2^53
    };
    std::vector<Counts> counts(static_cast<size_t>(team.size()));
    const int64_t chunks = std::min<int64_t>(neurons, 64);
    team.parallel(chunks, [&](int64_t chunk, int rank) {
      Counts& c = counts[static_cast<size_t>(rank)];
      c.shared.resize(static_cast<size_t>(neurons));
      for (auto i = static_cast<int32_t>(neurons * chunk / chunks); i < neurons * (chunk + 1) / chunks; ++i) {
        if (stop && *stop) return;
        c.touched.clear();
        eachPartner(from, i, [&](int32_t other) {
          eachPartner(via, other, [&](int32_t j) {
            if (j < i && c.shared[static_cast<size_t>(j)]++ == 0) c.touched.push_back(j);
          });
        });
        for (int32_t j : c.touched) {
          const double n = c.shared[static_cast<size_t>(j)];
          c.cycles += n * (n - 1) / 2;
          c.shared[static_cast<size_t>(j)] = 0;
        }
      }
    });
    double cycles = 0;
    for (const Counts& c : counts) cycles += c.cycles;
    return {4 * cycles / total, 0};
  }

  int64_t closed = 0;
  for (int64_t i = 0; i < kPaths; ++i) {
    if (stop && *stop) break;
    const Philox p = philox(options.seed, static_cast<uint32_t>(i), 0, kThreePaths, purpose),
                 q = philox(options.seed, static_cast<uint32_t>(i), 1, kThreePaths, purpose);
    const double at = unitInterval(p.word[0], p.word[1]) * total;
    const auto k =
        static_cast<int32_t>(std::min<int64_t>(std::upper_bound(paths.begin() + 1, paths.end(), at) - paths.begin() - 1,
                                               static_cast<int64_t>(paths.size()) - 2));
    const auto row = static_cast<int32_t>(std::upper_bound(byRow.rowOffsets.begin(), byRow.rowOffsets.end(), k) -
                                          byRow.rowOffsets.begin() - 1);
    const int32_t column = byRow.columnIndices[static_cast<size_t>(k)];
    // One of the other partners of each end of the middle link.
    const auto another = [](const HostCsr& links, int32_t neuron, int32_t known, double u) {
      const int32_t others = degreeOf(links, neuron) - 1;
      const int32_t* partners = links.columnIndices.data() + links.rowOffsets[static_cast<size_t>(neuron)];
      const int32_t pick = std::min(others - 1, static_cast<int32_t>(u * others));
      const auto place = static_cast<int32_t>(std::lower_bound(partners, partners + others + 1, known) - partners);
      return partners[pick < place ? pick : pick + 1];
    };
    const int32_t otherColumn = another(byRow, row, column, unitInterval(p.word[2], p.word[3]));
    const int32_t otherRow = another(byColumn, column, row, unitInterval(q.word[0], q.word[1]));
    const int32_t* begin = byRow.columnIndices.data() + byRow.rowOffsets[static_cast<size_t>(otherRow)];
    closed += std::binary_search(begin, begin + degreeOf(byRow, otherRow), otherColumn);
  }
  const double share = static_cast<double>(closed) / kPaths;
  return {share, std::sqrt(std::max(share * (1 - share), 1.0 / kPaths) / kPaths)};
}

void measurePaths(const Views& v, const DescribeOptions& options, uint32_t purpose, cpu::Team& team,
                  const std::atomic<bool>* stop, LayerDescription* out) {
  const HostCsr &byRow = *v.byRow, &byColumn = v.byColumn;
  // Neurons are numbered rows first.
  std::vector<int64_t> sources;
  for (int32_t r = 0; r < v.rows; ++r) {
    if (degreeOf(byRow, r) > 0) sources.push_back(r);
  }
  for (int32_t c = 0; c < v.cols; ++c) {
    if (degreeOf(byColumn, c) > 0) sources.push_back(int64_t{v.rows} + c);
  }
  const auto active = static_cast<int64_t>(sources.size());
  if (active == 0) {
    out->pathLength.value = out->connected = std::numeric_limits<double>::quiet_NaN();
    return;
  }
  const int64_t steps = 2 * static_cast<int64_t>(byRow.columnIndices.size()) + active;
  const bool exact = active <= kShared * options.exactUpTo / steps;
  const int64_t wanted = std::max(options.exactUpTo / steps, kFewestSources);
  if (!exact && wanted < active) {
    std::vector<int64_t> ranks(static_cast<size_t>(wanted));
    cpu::distinctRanks(wanted, active, options.seed, kSources, purpose, ranks.data());
    for (size_t i = 0; i < ranks.size(); ++i) ranks[i] = sources[static_cast<size_t>(ranks[i])];
    sources = std::move(ranks);
  }
  const auto count = static_cast<int64_t>(sources.size());
  // Searches from several sources at once, a bit each.
  struct Search {
    std::vector<uint64_t> seen, front, next;  // by neuron
    std::vector<int64_t> now, then;           // neurons with a bit in front, and in next
  };
  std::vector<Search> searches(static_cast<size_t>(team.size()));
  // Sums over the neurons that a source reaches.
  std::vector<double> lengths(sources.size(), 0), partners(sources.size(), 0);
  const int64_t width = count < active ? 8 : 64, batches = (count + width - 1) / width;
  team.parallel(batches, [&](int64_t batch, int rank) {
    if (stop && *stop) return;
    Search& s = searches[static_cast<size_t>(rank)];
    const size_t neurons = static_cast<size_t>(v.rows) + static_cast<size_t>(v.cols);
    s.seen.assign(neurons, 0);
    s.front.assign(neurons, 0);
    s.next.assign(neurons, 0);
    s.now.clear();
    const int64_t first = batch * width, in = std::min(width, count - first);
    for (int64_t i = 0; i < in; ++i) {
      const int64_t source = sources[static_cast<size_t>(first + i)];
      s.now.push_back(source);
      s.seen[static_cast<size_t>(source)] = s.front[static_cast<size_t>(source)] = uint64_t{1} << i;
    }
    int64_t missing = in * (active - 1);
    for (int64_t distance = 1; !s.now.empty() && missing > 0; ++distance) {
      if (stop && *stop) return;
      s.then.clear();
      for (int64_t neuron : s.now) {
        const bool isRow = neuron < v.rows;
        const int64_t others = isRow ? v.rows : 0;
        const uint64_t bits = s.front[static_cast<size_t>(neuron)];
        s.front[static_cast<size_t>(neuron)] = 0;
        eachPartner(isRow ? byRow : byColumn, static_cast<int32_t>(isRow ? neuron : neuron - v.rows),
                    [&](int32_t partner) {
                      const auto at = static_cast<size_t>(others + partner);
                      const uint64_t added = bits & ~s.seen[at];
                      if (added == 0) return;
                      if (s.next[at] == 0) s.then.push_back(others + partner);
                      s.next[at] |= added;
                    });
      }
      int64_t reached[64] = {};
      for (int64_t neuron : s.then) {
        const auto at = static_cast<size_t>(neuron);
        s.seen[at] |= s.next[at];
        for (uint64_t bits = s.next[at]; bits; bits &= bits - 1) ++reached[__builtin_ctzll(bits)];
      }
      for (int64_t i = 0; i < in; ++i) {
        lengths[static_cast<size_t>(first + i)] += static_cast<double>(reached[i] * distance);
        partners[static_cast<size_t>(first + i)] += static_cast<double>(reached[i]);
        missing -= reached[i];
      }
      std::swap(s.front, s.next);
      std::swap(s.now, s.then);
    }
  });
  double sum = 0, pairs = 0;
  for (size_t i = 0; i < sources.size(); ++i) {
    sum += lengths[i];
    pairs += partners[i];
  }
  const double mean = sum / pairs;
  out->connected = pairs / (static_cast<double>(count) * static_cast<double>(active - 1));
  out->pathLength.value = mean;
  if (count == active) return;
  // Of a ratio of two sums over a sample of the sources, which are drawn without replacement.
  double squares = 0;
  for (size_t i = 0; i < sources.size(); ++i)
    squares += (lengths[i] - mean * partners[i]) * (lengths[i] - mean * partners[i]);
  const double n = static_cast<double>(count);
  out->pathLength.error = std::sqrt(squares / (n - 1) * n * (1 - n / static_cast<double>(active))) / pairs;
}

/// Removes neurons that have no links on one side, until none is left.
void percolate(const std::vector<DescribedLayer>& layers, const std::vector<Views>& views,
               std::vector<LayerDescription>* out) {
  // A level of neurons lies between two layers, or before the first or after the last of a chain.
  struct Level {
    int32_t before = -1, after = -1;  // layers
    std::vector<uint8_t> alive;
    std::vector<int32_t> in, out;  // links to neurons that are alive
  };
  std::vector<Level> levels;
  std::vector<size_t> inputs(layers.size()), outputs(layers.size());
  for (size_t l = 0; l < layers.size(); ++l) {
    if (!layers[l].follows) {
      levels.emplace_back();
      levels.back().alive.assign(static_cast<size_t>(layers[l].cols), 1);
    }
    inputs[l] = levels.size() - 1;
    levels.back().after = static_cast<int32_t>(l);
    for (int32_t c = 0; c < layers[l].cols; ++c) levels.back().out.push_back(degreeOf(views[l].byColumn, c));
    levels.emplace_back();
    outputs[l] = levels.size() - 1;
    levels.back().before = static_cast<int32_t>(l);
    levels.back().alive.assign(static_cast<size_t>(layers[l].rows), 1);
    for (int32_t r = 0; r < layers[l].rows; ++r) levels.back().in.push_back(degreeOf(layers[l].links, r));
  }
  std::vector<std::pair<size_t, int32_t>> gone;
  const auto judge = [&](size_t at, int32_t neuron) {
    Level& level = levels[at];
    const auto n = static_cast<size_t>(neuron);
    if (!level.alive[n] || !((level.before >= 0 && level.in[n] == 0) || (level.after >= 0 && level.out[n] == 0)))
      return;
    level.alive[n] = 0;
    gone.emplace_back(at, neuron);
  };
  for (size_t at = 0; at < levels.size(); ++at) {
    for (int32_t n = 0; n < static_cast<int32_t>(levels[at].alive.size()); ++n) judge(at, n);
  }
  while (!gone.empty()) {
    const auto [at, neuron] = gone.back();
    gone.pop_back();
    if (const int32_t l = levels[at].before; l >= 0) {
      const size_t from = inputs[static_cast<size_t>(l)];
      eachPartner(layers[static_cast<size_t>(l)].links, neuron, [&](int32_t partner) {
        --levels[from].out[static_cast<size_t>(partner)];
        judge(from, partner);
      });
    }
    if (const int32_t l = levels[at].after; l >= 0) {
      const size_t to = outputs[static_cast<size_t>(l)];
      eachPartner(views[static_cast<size_t>(l)].byColumn, neuron, [&](int32_t partner) {
        --levels[to].in[static_cast<size_t>(partner)];
        judge(to, partner);
      });
    }
  }
  for (size_t l = 0; l < layers.size(); ++l) {
    const auto& from = levels[inputs[l]].alive;
    const auto& to = levels[outputs[l]].alive;
    LayerDescription& d = (*out)[l];
    d.percolatedInputs = static_cast<int32_t>(std::count(from.begin(), from.end(), 1));
    d.percolatedOutputs = static_cast<int32_t>(std::count(to.begin(), to.end(), 1));
    for (int32_t r = 0; r < layers[l].rows; ++r) {
      if (to[static_cast<size_t>(r)])
        eachPartner(layers[l].links, r, [&](int32_t c) { d.percolatedLinks += from[static_cast<size_t>(c)]; });
    }
  }
}

}  // namespace

Status describeTopology(const std::vector<DescribedLayer>& layers, const DescribeOptions& options,
                        std::vector<LayerDescription>* out, const std::atomic<bool>* stop) {
  for (size_t l = 0; l < layers.size(); ++l) {
    if (layers[l].follows && (l == 0 || layers[l].cols != layers[l - 1].rows)) {
      return {Code::invalidArgument, "Expected layer " + std::to_string(l) +
                                         " to have as many inputs as the one before has outputs, got " +
                                         std::to_string(layers[l].cols)};
    }
  }
  out->assign(layers.size(), {});
  cpu::Team team(cpu::usableThreads());
  std::vector<Views> views;
  for (const DescribedLayer& layer : layers) views.push_back(viewsOf(layer));
  for (size_t l = 0; l < layers.size(); ++l) {
    const uint32_t purpose = purposeWord(kSampleDraws, static_cast<uint32_t>(l));
    LayerDescription& d = (*out)[l];
    d.inputs = degreesOf(views[l].byColumn);
    d.outputs = degreesOf(layers[l].links);
    d.clustering = clusteringOf(views[l], options, purpose, team, stop);
    measurePaths(views[l], options, purpose, team, stop, &d);
    if (stop && *stop) return {Code::aborted, "stopped while describing the topology"};
  }
  percolate(layers, views, out);
  return {};
}

}  // namespace hebb::networks
