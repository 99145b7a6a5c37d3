#include "hebb/topology.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_set>

#include "../cpu/distinct.h"
#include "../cpu/team.h"

namespace hebb::networks {
namespace {

/// Neurons' links drawn by one thread before another may start: threads are not worth their start for fewer.
constexpr int64_t kLinksPerThread = 20000;

Status checkShape(int32_t rows, int32_t cols, int64_t links) {
  if (rows < 1 || cols < 1)
    return {Code::invalidArgument,
            "Expected at least one neuron on each side, got " + std::to_string(rows) + " x " + std::to_string(cols)};
  if (links < 0 || links > int64_t{rows} * cols || links > INT32_MAX) {
    return {Code::invalidArgument, "Expected between 0 and " +
                                       std::to_string(std::min<int64_t>(int64_t{rows} * cols, INT32_MAX)) +
                                       " links, got " + std::to_string(links)};
  }
  return {};
}

/// Uniform numbers of one neuron, in the order they are asked for.
struct Stream {
  uint64_t seed;
  uint32_t neuron, purpose, at = 0;
  double next() {
    const Philox p = philox(seed, neuron, at++, 0, purpose);
    return unitInterval(p.word[0], p.word[1]);
  }
};

/// A number of [0, range), range > 0.
int64_t below(double uniform, int64_t range) {
  return std::min(range - 1, static_cast<int64_t>(uniform * static_cast<double>(range)));
}

/// How many links each of `neurons` draws: equal up to rounding, or one each and the rest thrown at random, none above
/// `most`.
std::vector<int64_t> degreesOf(int32_t neurons, int32_t most, int64_t links, bool uniform, uint64_t seed,
                               uint32_t purpose) {
  std::vector<int64_t> degrees(static_cast<size_t>(neurons), 0);
  if (!uniform || links <= neurons) {
    for (int32_t i = 0; i < neurons; ++i)
      degrees[static_cast<size_t>(i)] = links * (i + 1) / neurons - links * i / neurons;
    return degrees;
  }
  std::fill(degrees.begin(), degrees.end(), 1);
  Stream stream{seed, 0xFFFFFFFFu, purpose};
  std::vector<int32_t> open(static_cast<size_t>(neurons));  // neurons that can take another link
  for (int32_t i = 0; i < neurons; ++i) open[static_cast<size_t>(i)] = i;
  for (int64_t left = links - neurons; left > 0; --left) {
    const auto pick = static_cast<size_t>(below(stream.next(), static_cast<int64_t>(open.size())));
    if (degrees[static_cast<size_t>(open[pick])] >= most) {  // full (only when one link each fills the other side)
      open[pick] = open.back();
      open.pop_back();
      ++left;
      continue;
    }
    if (++degrees[static_cast<size_t>(open[pick])] == most) {
      open[pick] = open.back();
      open.pop_back();
    }
  }
  return degrees;
}

/// Draws distinct places on a ring of `size` around `centre`, p(j) proportional to (1 + distance)^-exponent. Rings of
/// up to kFewPlaces are drawn by rejection and, for what that does not find, a race of all other places, as they always
/// were; larger ones by a race whose far runners start only when they can still win. The law is the same.
class RingDraw {
 public:
  static constexpr int32_t kFewPlaces = 8192;

  RingDraw(int32_t size, double exponent) : size_(size), exponent_(exponent) {
    if (size > kFewPlaces) {
      // tail_[o]: weights of all places at least o steps away, two places a step, each at most o^-exponent. From the
      // far end, for precision.
      tail_.resize(static_cast<size_t>(size / 2) + 2);
      for (int32_t o = size / 2; o > 0; --o)
        tail_[static_cast<size_t>(o)] =
            tail_[static_cast<size_t>(o) + 1] + 2 * std::pow(static_cast<double>(o), -exponent_);
      return;
    }
    for (int32_t d = 0; d <= size / 2; ++d) bound_.push_back(std::pow(1.0 + d, -exponent_));
    // Whole-step bounds of the weights: a place at real distance d has weight at most (1 + floor(d))^-exponent. Two
    // places a step.
    if (exponent_ > 0) {
      cumulative_.resize(static_cast<size_t>(size / 2) + 1);
      double sum = 0;
      for (size_t m = 0; m < cumulative_.size(); ++m)
        cumulative_[m] = sum += 2 * std::pow(1.0 + static_cast<double>(m), -exponent_);
    }
  }

  /// `count` places, ascending, into `places`. Expected O(count); falls back to one pass over the ring for what
  /// rejection does not find.
  void draw(double centre, int64_t count, Stream& stream, std::vector<int32_t>& places) const {
    places.clear();
    if (count >= size_) {
      for (int32_t j = 0; j < size_; ++j) places.push_back(j);
      return;
    }
    if (size_ > kFewPlaces) return lazyRace(centre, count, stream, places);
    for (int64_t tries = 16 * count + 64; tries > 0 && static_cast<int64_t>(places.size()) < count; --tries) {
      const int32_t j = propose(centre, stream);
      if (j < 0) continue;
      const auto at = std::lower_bound(places.begin(), places.end(), j);
      if (at == places.end() || *at != j) places.insert(at, j);
    }
    if (static_cast<int64_t>(places.size()) < count) race(centre, count, stream, places);
  }

  /// The `count` nearest places.
  void nearest(double centre, int64_t count, std::vector<int32_t>& places) const {
    places.clear();
    int64_t right = static_cast<int64_t>(std::ceil(centre)), left = right - 1;
    for (; count > 0; --count) {
      const bool takeRight = static_cast<double>(right) - centre <= centre - static_cast<double>(left);
      places.push_back(static_cast<int32_t>(((takeRight ? right++ : left--) % size_ + size_) % size_));
    }
    std::sort(places.begin(), places.end());
  }

 private:
  double distance(double centre, int32_t j) const {
    const double d = std::fabs(static_cast<double>(j) - centre);
    return std::min(d, size_ - d);
  }

  /// A place, or -1 for a draw that counts for nothing.
  int32_t propose(double centre, Stream& stream) const {
    if (exponent_ <= 0) return std::min(size_ - 1, static_cast<int32_t>(stream.next() * size_));
    const double u = stream.next() * cumulative_.back();
    const auto step =
        static_cast<int64_t>(std::upper_bound(cumulative_.begin(), cumulative_.end(), u) - cumulative_.begin());
    const int64_t m = std::min<int64_t>(step, static_cast<int64_t>(cumulative_.size()) - 1);
    const bool right = u - (m ? cumulative_[static_cast<size_t>(m) - 1] : 0) <
                       (cumulative_[static_cast<size_t>(m)] - (m ? cumulative_[static_cast<size_t>(m) - 1] : 0)) / 2;
    const double whole = std::floor(centre), fraction = centre - whole;
    // Right of the centre (its own place included when it is whole) and left of it, m whole steps away.
    const int64_t offset = right ? (fraction > 0 ? m + 1 : m) : (fraction > 0 ? -m : -m - 1);
    const int64_t j = ((static_cast<int64_t>(whole) + offset) % size_ + size_) % size_;
    const double along = right ? static_cast<double>(offset) - fraction : fraction - static_cast<double>(offset);
    const double d = distance(centre, static_cast<int32_t>(j));
    if (along > d + 1e-9 || 2 * along > size_) return -1;  // reached from the other side
    if (2 * along == size_ && !right) return -1;           // the opposite place is reached from both: count it once
    return stream.next() < std::pow((1.0 + static_cast<double>(m)) / (1.0 + d), exponent_) ? static_cast<int32_t>(j)
                                                                                           : -1;
  }

  /// Completes `places` by an exponential race among the others: equal in law to drawing on, for any weights.
  void race(double centre, int64_t count, Stream& stream, std::vector<int32_t>& places) const {
    const int64_t missing = count - static_cast<int64_t>(places.size());
    std::vector<std::pair<double, int32_t>> keys;
    const auto shrink = [&] {
      std::nth_element(keys.begin(), keys.begin() + (missing - 1), keys.end());
      keys.resize(static_cast<size_t>(missing));
    };
    double reach = std::numeric_limits<double>::infinity();  // exp of the last key that can still win
    size_t taken = 0;
    for (int32_t j = 0; j < size_; ++j) {
      if (taken < places.size() && places[taken] == j) {
        ++taken;
        continue;
      }
      const double u = stream.next(), d = distance(centre, j);
      // -log(u) >= 1 - u: most lose without a logarithm.
      if (1 - u > reach * bound_[static_cast<size_t>(d)]) continue;
      keys.emplace_back(std::log(-std::log(u)) + exponent_ * std::log1p(d), j);
      if (static_cast<int64_t>(keys.size()) < 2 * missing + 64) continue;
      shrink();
      reach = std::exp(keys.back().first) * (1 + 1e-9);
    }
    shrink();
    for (int64_t n = 0; n < missing; ++n) places.push_back(keys[static_cast<size_t>(n)].second);
    std::sort(places.begin(), places.end());
  }

  /// A race in O(count) expected time: a place of weight w arrives after an exponential time of rate w, and the first
  /// `count` are chosen. Places near the centre run one by one. All others together are one Poisson process at the rate
  /// of a bound of their weights: an event picks a place by its bound and counts with probability weight / bound, so
  /// that a place's first event that counts is its arrival. It stops at the last arrival wanted. Times are in units of
  /// the far places' largest bound; those of the near ones as logarithms.
  void lazyRace(double centre, int64_t count, Stream& stream, std::vector<int32_t>& places) const {
    const double whole = std::floor(centre);
    const auto at = [&](int64_t offset) {
      return static_cast<int32_t>(((static_cast<int64_t>(whole) + offset) % size_ + size_) % size_);
    };
    const int64_t near = std::min<int64_t>(2 * count + 16, (size_ - 1) / 2), half = size_ / 2;
    const double unit = exponent_ * std::log1p(static_cast<double>(near));
    std::vector<std::pair<double, int32_t>> arrivals;  // log of time, place
    for (int64_t o = -near; o <= near; ++o) {
      const int32_t j = at(o);
      arrivals.emplace_back(std::log(-std::log(stream.next())) + exponent_ * std::log1p(distance(centre, j)) - unit, j);
    }
    std::nth_element(arrivals.begin(), arrivals.begin() + (count - 1), arrivals.end());
    arrivals.resize(static_cast<size_t>(count));
    std::make_heap(arrivals.begin(), arrivals.end());  // the last one first
    std::unordered_set<int32_t> arrived;
    const double tail = tail_[static_cast<size_t>(near) + 1], rate = tail * std::exp(unit);
    // Below the smallest normal number the far places are too unlikely to count.
    for (double time = 0; tail >= std::numeric_limits<double>::min();) {
      time += -std::log(stream.next()) / rate;
      if (!(std::log(time) < arrivals.front().first)) break;
      // The step whose share of the tail a uniform number falls into, and a side.
      const double u = stream.next() * tail;
      const auto after = std::upper_bound(tail_.begin() + near + 1, tail_.begin() + half + 1, u,
                                          [](double x, double t) { return t <= x; });
      const int64_t o = after - tail_.begin() - 1;
      const bool right = stream.next() < 0.5;
      if (right && 2 * o == size_) continue;  // the opposite place is the left side's
      const int32_t j = at(right ? o : -o);
      if (stream.next() >= std::pow(static_cast<double>(o) / (1 + distance(centre, j)), exponent_)) continue;
      if (!arrived.insert(j).second) continue;
      std::pop_heap(arrivals.begin(), arrivals.end());
      arrivals.back() = {std::log(time), j};
      std::push_heap(arrivals.begin(), arrivals.end());
    }
    for (const auto& arrival : arrivals) places.push_back(arrival.second);
    std::sort(places.begin(), places.end());
  }

  const int32_t size_;
  const double exponent_;
  std::vector<double> cumulative_, bound_, tail_;
};

// What the draws of a network are for: the third word of their counters. What BRF and Erdos-Renyi networks draw is 0.
constexpr uint32_t kWhether = 1, kElsewhere = 2, kOrder = 3;

/// Links by their cells (row * cols + col), ascending, and `more` anywhere else, all sets alike.
void withLinksElsewhere(const std::vector<int64_t>& cells, int64_t more, int32_t rows, int32_t cols, uint64_t seed,
                        uint32_t purpose, HostCsr* out) {
  // Ranks among the cells without a link.
  std::vector<int64_t> ranks(static_cast<size_t>(more));
  cpu::distinctRanks(more, int64_t{rows} * cols - static_cast<int64_t>(cells.size()), seed, kElsewhere, purpose,
                     ranks.data());
  out->rowOffsets.assign(static_cast<size_t>(rows) + 1, 0);
  out->columnIndices.clear();
  out->columnIndices.reserve(cells.size() + ranks.size());
  const auto add = [&](int64_t cell) {
    ++out->rowOffsets[static_cast<size_t>(cell / cols) + 1];
    out->columnIndices.push_back(static_cast<int32_t>(cell % cols));
  };
  size_t passed = 0;
  for (int64_t rank : ranks) {
    for (; passed < cells.size() && cells[passed] <= rank + static_cast<int64_t>(passed); ++passed) add(cells[passed]);
    add(rank + static_cast<int64_t>(passed));
  }
  for (; passed < cells.size(); ++passed) add(cells[passed]);
  for (int32_t r = 0; r < rows; ++r)
    out->rowOffsets[static_cast<size_t>(r) + 1] += out->rowOffsets[static_cast<size_t>(r)];
}

/// One side of a network that grows: its neurons in the order of their arrival.
struct GrowingSide {
  GrowingSide(int32_t size, uint32_t side, uint64_t seed, uint32_t purpose)
      : neurons(static_cast<size_t>(size)), degrees(static_cast<size_t>(size), 0),
        chosenBy(static_cast<size_t>(size), -1) {
    for (int32_t i = 0; i < size; ++i) {
      const Philox p = philox(seed, static_cast<uint32_t>(i), side, kOrder, purpose);
      const auto j = static_cast<size_t>(below(unitInterval(p.word[0], p.word[1]), i + 1));
      neurons[static_cast<size_t>(i)] = neurons[j];
      neurons[j] = i;
    }
  }

  void link(int32_t place) {
    ends.push_back(place);
    ++degrees[static_cast<size_t>(place)];
  }

  /// Chooses `count` places among those that have arrived, without replacement, with probability proportional to their
  /// degree; ones without a link only when no others are left.
  void choose(int64_t count, int64_t newcomer, Stream& stream, std::vector<int32_t>& chosen) {
    chosen.clear();
    if (count == arrived) {
      for (int32_t place = 0; place < arrived; ++place) chosen.push_back(place);
      return;
    }
    const auto take = [&](int32_t place) {
      if (chosenBy[static_cast<size_t>(place)] == newcomer) return;
      chosenBy[static_cast<size_t>(place)] = newcomer;
      chosen.push_back(place);
    };
    if (!ends.empty()) {
      for (int64_t tries = 16 * count + 64; tries > 0 && static_cast<int64_t>(chosen.size()) < count; --tries) {
        take(ends[static_cast<size_t>(below(stream.next(), static_cast<int64_t>(ends.size())))]);
      }
    }
    const int64_t missing = count - static_cast<int64_t>(chosen.size());
    if (missing == 0) return;
    // An exponential race among the others: equal in law to drawing on.
    std::vector<std::pair<double, int32_t>> arrivals;
    for (int32_t place = 0; place < arrived; ++place) {
      if (chosenBy[static_cast<size_t>(place)] == newcomer) continue;
      const double u = stream.next();
      const int32_t degree = degrees[static_cast<size_t>(place)];
      arrivals.emplace_back(degree > 0 ? std::log(-std::log(u)) - std::log(degree) : 1e9 + u, place);
    }
    std::nth_element(arrivals.begin(), arrivals.begin() + (missing - 1), arrivals.end());
    for (int64_t i = 0; i < missing; ++i) take(arrivals[static_cast<size_t>(i)].second);
  }

  std::vector<int32_t> neurons;  // by place in the order of arrival
  int32_t arrived = 0;
  std::vector<int32_t> degrees, ends;  // by place; a place for each of its links
  std::vector<int64_t> chosenBy;       // by place: the newcomer that chose it last
};

}  // namespace

Status bipartiteReceptiveField(int32_t rows, int32_t cols, int64_t links, const BrfOptions& options, uint64_t seed,
                               int32_t layer, HostCsr* out, const std::atomic<bool>* stop) {
  HEBB_RETURN_IF_ERROR(checkShape(rows, cols, links));
  if (!(options.randomness >= 0 && options.randomness <= 1)) {
    return {Code::invalidArgument, "Expected r to be between 0 and 1, got " + std::to_string(options.randomness)};
  }
  const bool byRows = rows <= cols;
  const int32_t smaller = byRows ? rows : cols, larger = byRows ? cols : rows;
  const uint32_t purpose = purposeWord(kTopologyDraws, static_cast<uint32_t>(layer));
  const std::vector<int64_t> degrees = degreesOf(smaller, larger, links, options.uniformDegrees, seed, purpose);
  const bool nearest = options.randomness == 0;
  const RingDraw ring(larger, nearest ? 0 : (1 - options.randomness) / options.randomness);
  std::vector<int32_t> offsets(static_cast<size_t>(smaller) + 1, 0), indices(static_cast<size_t>(links));
  for (size_t i = 0; i < degrees.size(); ++i) offsets[i + 1] = offsets[i] + static_cast<int32_t>(degrees[i]);
  // A neuron's numbers are its own, so the threads' number changes nothing.
  cpu::Team team(static_cast<int>(std::min<int64_t>(cpu::usableThreads(), links / kLinksPerThread + 1)));
  const int64_t chunks = team.size() == 1 ? 1 : std::min<int64_t>(smaller, 64);
  team.parallel(chunks, [&](int64_t chunk, int) {
    std::vector<int32_t> places;
    for (int64_t i = smaller * chunk / chunks; i < smaller * (chunk + 1) / chunks; ++i) {
      if (stop && *stop) return;
      const double centre = static_cast<double>(i) * larger / smaller;
      Stream stream{seed, static_cast<uint32_t>(i), purpose};
      const int64_t degree = degrees[static_cast<size_t>(i)];
      if (nearest) ring.nearest(centre, degree, places);
      else ring.draw(centre, degree, stream, places);
      std::copy(places.begin(), places.end(), indices.begin() + offsets[static_cast<size_t>(i)]);
    }
  });
  if (stop && *stop) return {Code::aborted, "stopped while drawing links"};
  if (byRows) {
    out->rowOffsets = std::move(offsets);
    out->columnIndices = std::move(indices);
    return {};
  }
  // The smaller side is the columns: turn the lists round.
  out->rowOffsets.assign(static_cast<size_t>(rows) + 1, 0);
  out->columnIndices.resize(indices.size());
  for (int32_t row : indices) ++out->rowOffsets[static_cast<size_t>(row) + 1];
  for (int32_t r = 0; r < rows; ++r)
    out->rowOffsets[static_cast<size_t>(r) + 1] += out->rowOffsets[static_cast<size_t>(r)];
  std::vector<int32_t> cursor(out->rowOffsets.begin(), out->rowOffsets.end() - 1);
  for (int32_t c = 0; c < cols; ++c) {
    for (int32_t k = offsets[static_cast<size_t>(c)]; k < offsets[static_cast<size_t>(c) + 1]; ++k) {
      out->columnIndices[static_cast<size_t>(cursor[static_cast<size_t>(indices[static_cast<size_t>(k)])]++)] = c;
    }
  }
  return {};
}

Status erdosRenyi(int32_t rows, int32_t cols, int64_t links, uint64_t seed, int32_t layer, HostCsr* out) {
  HEBB_RETURN_IF_ERROR(checkShape(rows, cols, links));
  std::vector<int64_t> cells(static_cast<size_t>(links));
  cpu::distinctRanks(links, int64_t{rows} * cols, seed, 0, purposeWord(kTopologyDraws, static_cast<uint32_t>(layer)),
                     cells.data());
  out->rowOffsets.assign(static_cast<size_t>(rows) + 1, 0);
  out->columnIndices.clear();
  out->columnIndices.reserve(cells.size());
  for (int64_t cell : cells) {
    ++out->rowOffsets[static_cast<size_t>(cell / cols) + 1];
    out->columnIndices.push_back(static_cast<int32_t>(cell % cols));
  }
  for (int32_t r = 0; r < rows; ++r)
    out->rowOffsets[static_cast<size_t>(r) + 1] += out->rowOffsets[static_cast<size_t>(r)];
  return {};
}

Status bipartiteSmallWorld(int32_t rows, int32_t cols, int64_t links, double beta, uint64_t seed, int32_t layer,
                           HostCsr* out, const std::atomic<bool>* stop) {
  if (!(beta >= 0 && beta <= 1))
    return {Code::invalidArgument, "Expected beta to be between 0 and 1, got " + std::to_string(beta)};
  BrfOptions nearest;
  nearest.randomness = 0;
  HostCsr lattice;
  HEBB_RETURN_IF_ERROR(bipartiteReceptiveField(rows, cols, links, nearest, seed, layer, &lattice, stop));
  const uint32_t purpose = purposeWord(kTopologyDraws, static_cast<uint32_t>(layer));
  std::vector<int64_t> kept;
  kept.reserve(static_cast<size_t>(links));
  for (int32_t row = 0; row < rows; ++row) {
    if (stop && *stop) return {Code::aborted, "stopped while drawing links"};
    for (int32_t k = lattice.rowOffsets[static_cast<size_t>(row)]; k < lattice.rowOffsets[static_cast<size_t>(row) + 1];
         ++k) {
      const int32_t col = lattice.columnIndices[static_cast<size_t>(k)];
      const Philox p = philox(seed, static_cast<uint32_t>(row), static_cast<uint32_t>(col), kWhether, purpose);
      if (unitInterval(p.word[0], p.word[1]) >= beta) kept.push_back(int64_t{row} * cols + col);
    }
  }
  withLinksElsewhere(kept, links - static_cast<int64_t>(kept.size()), rows, cols, seed, purpose, out);
  if (stop && *stop) return {Code::aborted, "stopped while drawing links"};
  return {};
}

Status bipartiteScaleFree(int32_t rows, int32_t cols, int64_t links, uint64_t seed, int32_t layer, HostCsr* out,
                          const std::atomic<bool>* stop) {
  HEBB_RETURN_IF_ERROR(checkShape(rows, cols, links));
  const uint32_t purpose = purposeWord(kTopologyDraws, static_cast<uint32_t>(layer));
  GrowingSide sides[2] = {{rows, 0, seed, purpose}, {cols, 1, seed, purpose}};
  const int64_t neurons = int64_t{rows} + cols;
  std::vector<int64_t> cells;
  cells.reserve(static_cast<size_t>(links));
  std::vector<int32_t> chosen;
  int64_t owed = 0;  // links that wait for a neuron that can bring them
  for (int64_t n = 0; n < neurons; ++n) {
    if (stop && *stop) return {Code::aborted, "stopped while drawing links"};
    const int side = (n + 1) * rows / neurons > n * rows / neurons ? 0 : 1;
    GrowingSide &mine = sides[side], &others = sides[1 - side];
    owed += links * (n + 1) / neurons - links * n / neurons;
    const int64_t count = std::min<int64_t>(owed, others.arrived);
    Stream stream{seed, static_cast<uint32_t>(n), purpose};
    others.choose(count, n, stream, chosen);
    const int32_t place = mine.arrived++, neuron = mine.neurons[static_cast<size_t>(place)];
    for (int32_t other : chosen) {
      mine.link(place);
      others.link(other);
      const int32_t partner = others.neurons[static_cast<size_t>(other)];
      cells.push_back(side == 0 ? int64_t{neuron} * cols + partner : int64_t{partner} * cols + neuron);
    }
    owed -= count;
  }
  std::sort(cells.begin(), cells.end());
  withLinksElsewhere(cells, owed, rows, cols, seed, purpose, out);
  return {};
}

int64_t pairsOf(int32_t rows, int32_t cols, int64_t links, int32_t features) {
  const int64_t cells = 2 * int64_t{rows / features} * (cols / features);
  return cells ? (links + cells - 1) / cells : 0;
}

Status correlatedSparse(int32_t rows, int32_t cols, int64_t links, int32_t features,
                        const std::vector<FeaturePair>& pairs, uint64_t seed, int32_t layer, HostCsr* out) {
  HEBB_RETURN_IF_ERROR(checkShape(rows, cols, links));
  if (features < 1 || rows % features != 0 || cols % features != 0) {
    return {Code::invalidArgument,
            "Expected a layer whose sides are multiples of the data's " + std::to_string(features) +
                " features, got one of " + std::to_string(cols) + " -> " + std::to_string(rows) +
                ". Choose hidden layers once or twice as wide as the input, or another topology for this layer."};
  }
  const uint32_t purpose = purposeWord(kTopologyDraws, static_cast<uint32_t>(layer));
  const int64_t tall = rows / features, wide = cols / features, cellsOfPair = 2 * tall * wide;
  std::vector<int64_t> cells;
  cells.reserve(static_cast<size_t>(links));
  const auto cellOf = [&](const FeaturePair& pair, int64_t i) {
    const bool transposed = i % 2;
    const int64_t tile = i / 2, row = tile / wide * features + (transposed ? pair.second : pair.first),
                  col = tile % wide * features + (transposed ? pair.first : pair.second);
    return row * cols + col;
  };
  const int64_t whole = std::min<int64_t>(links / cellsOfPair, static_cast<int64_t>(pairs.size()));
  for (int64_t n = 0; n < whole; ++n) {
    for (int64_t i = 0; i < cellsOfPair; ++i) cells.push_back(cellOf(pairs[static_cast<size_t>(n)], i));
  }
  if (const int64_t rest = links - whole * cellsOfPair; rest > 0 && whole < static_cast<int64_t>(pairs.size())) {
    std::vector<int64_t> part(static_cast<size_t>(rest));
    cpu::distinctRanks(rest, cellsOfPair, seed, kWhether, purpose, part.data());
    for (int64_t i : part) cells.push_back(cellOf(pairs[static_cast<size_t>(whole)], i));
  }
  std::sort(cells.begin(), cells.end());
  withLinksElsewhere(cells, links - static_cast<int64_t>(cells.size()), rows, cols, seed, purpose, out);
  return {};
}

}  // namespace hebb::networks
