// The most strongly correlated pairs of features. The pairs are cut into tiles of kTile x kTile features; a thread
// takes a tile, reads the samples in chunks, lays its features' columns of a chunk side by side, and multiplies and
// adds pair by pair, 2 x 4 of them in registers at a time. So the data are read once for each row of tiles: one pass
// over them would need a sum for every pair at once, which is the matrix of correlations. Bytes are multiplied as
// 16-bit and summed as 32-bit integers (one pmaddwd for 8 products), exactly, hence compiled for the least of the
// processors: the same bits everywhere. Roofline: samples * features^2 / 2 multiply-adds.
#include "hebb/correlation.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "../cpu/team.h"

namespace hebb::networks {
namespace {

constexpr int32_t kTile = 128;
constexpr int64_t kChunk = 1024;  // samples; sums of products of bytes over so many fit in 32 bits
// Of a column: not a power of two, which a cache would put into the same few lines.
constexpr int64_t kStride = kChunk + 16;

struct Stronger {
  bool operator()(const FeaturePair& a, const FeaturePair& b) const {
    const double x = std::fabs(a.correlation), y = std::fabs(b.correlation);
    return x != y ? x > y : std::tie(a.first, a.second) < std::tie(b.first, b.second);
  }
};

/// The best pairs so far.
class Best {
 public:
  void offer(const FeaturePair& pair, int64_t count) {
    if (full_ && !Stronger{}(pair, worst_)) return;
    pairs.push_back(pair);
    if (static_cast<int64_t>(pairs.size()) >= 2 * count + 64) cut(count);
  }
  void cut(int64_t count) {
    if (static_cast<int64_t>(pairs.size()) <= count) return;
    std::nth_element(pairs.begin(), pairs.begin() + (count - 1), pairs.end(), Stronger{});
    pairs.resize(static_cast<size_t>(count));
    worst_ = pairs.back();
    full_ = true;
  }
  std::vector<FeaturePair> pairs;

 private:
  FeaturePair worst_{};
  bool full_ = false;
};

/// Bytes: exact sums, and n * sum(xy) - sum(x) sum(y) in 128 bits.
struct OfBytes {
  using Element = int16_t;
  using Sum = int64_t;

  explicit OfBytes(const FeatureSamples& data)
      : data(data), sums(static_cast<size_t>(data.features), 0), deviations(static_cast<size_t>(data.features)) {}

  /// Of the features [begin, end).
  void prepare(int32_t begin, int32_t end) {
    std::vector<int64_t> squares(static_cast<size_t>(end - begin), 0);
    for (int64_t s = 0; s < data.samples; ++s) {
      const uint8_t* x = static_cast<const uint8_t*>(data.x) + s * data.features;
      for (int32_t f = begin; f < end; ++f) {
        sums[static_cast<size_t>(f)] += x[f];
        squares[static_cast<size_t>(f - begin)] += x[f] * x[f];
      }
    }
    for (int32_t f = begin; f < end; ++f) {
      const __int128 sum = sums[static_cast<size_t>(f)], square = squares[static_cast<size_t>(f - begin)];
      deviations[static_cast<size_t>(f)] = std::sqrt(static_cast<double>(data.samples * square - sum * sum));
    }
  }

  int16_t element(int64_t sample, int32_t feature) const {
    return static_cast<const uint8_t*>(data.x)[sample * data.features + feature];
  }

  /// Adds the products of two columns with four to `out`.
  static void multiply(const int16_t* a, const int16_t* b, int64_t count, int64_t* out, int64_t stride) {
    const int16_t *a0 = a, *a1 = a + kStride, *b0 = b, *b1 = b + kStride, *b2 = b + 2 * kStride, *b3 = b + 3 * kStride;
    int32_t s[8] = {};
    for (int64_t i = 0; i < count; ++i) {
      s[0] += a0[i] * b0[i];
      s[1] += a0[i] * b1[i];
      s[2] += a0[i] * b2[i];
      s[3] += a0[i] * b3[i];
      s[4] += a1[i] * b0[i];
      s[5] += a1[i] * b1[i];
      s[6] += a1[i] * b2[i];
      s[7] += a1[i] * b3[i];
    }
    for (int64_t i = 0; i < 8; ++i) out[i / 4 * stride + i % 4] += s[i];
  }

  double correlation(int64_t product, int32_t a, int32_t b) const {
    const double scale = deviations[static_cast<size_t>(a)] * deviations[static_cast<size_t>(b)];
    if (scale == 0) return 0;
    return static_cast<double>(static_cast<__int128>(data.samples) * product -
                               static_cast<__int128>(sums[static_cast<size_t>(a)]) * sums[static_cast<size_t>(b)]) /
           scale;
  }

  const FeatureSamples& data;
  std::vector<int64_t> sums;
  std::vector<double> deviations;  // times the number of samples
};

/// Floats: products of standardised values.
struct OfFloats {
  using Element = float;
  using Sum = double;
  typedef float Four __attribute__((vector_size(16)));
  typedef float FourInMemory __attribute__((vector_size(16), aligned(4), may_alias));

  explicit OfFloats(const FeatureSamples& data)
      : data(data), means(static_cast<size_t>(data.features), 0), scales(static_cast<size_t>(data.features)) {}

  void prepare(int32_t begin, int32_t end) {
    const auto eachSample = [&](const auto& visit) {
      for (int64_t s = 0; s < data.samples; ++s) {
        for (int32_t f = begin; f < end; ++f)
          visit(f, static_cast<double>(static_cast<const float*>(data.x)[s * data.features + f]));
      }
    };
    eachSample([&](int32_t f, double x) { means[static_cast<size_t>(f)] += x; });
    for (int32_t f = begin; f < end; ++f) means[static_cast<size_t>(f)] /= static_cast<double>(data.samples);
    std::vector<double> squares(static_cast<size_t>(end - begin), 0);
    eachSample([&](int32_t f, double x) {
      squares[static_cast<size_t>(f - begin)] +=
          (x - means[static_cast<size_t>(f)]) * (x - means[static_cast<size_t>(f)]);
    });
    for (int32_t f = begin; f < end; ++f) {
      const double square = squares[static_cast<size_t>(f - begin)];
      scales[static_cast<size_t>(f)] = square > 0 ? std::sqrt(static_cast<double>(data.samples) / square) : 0;
    }
  }

  float element(int64_t sample, int32_t feature) const {
    const double x = static_cast<double>(static_cast<const float*>(data.x)[sample * data.features + feature]);
    return static_cast<float>((x - means[static_cast<size_t>(feature)]) * scales[static_cast<size_t>(feature)]);
  }

  static void multiply(const float* a, const float* b, int64_t count, double* out, int64_t stride) {
    const auto at = [](const float* column, int64_t i) {
      return (Four) * reinterpret_cast<const FourInMemory*>(column + i);
    };
    Four s[8] = {};
    for (int64_t i = 0; i < count; i += 4) {  // columns end with zeros
      const Four a0 = at(a, i), a1 = at(a + kStride, i);
      for (int j = 0; j < 4; ++j) {
        const Four bj = at(b + j * kStride, i);
        s[j] += a0 * bj;
        s[4 + j] += a1 * bj;
      }
    }
    for (int64_t i = 0; i < 8; ++i)
      out[i / 4 * stride + i % 4] += static_cast<double>(s[i][0] + s[i][1]) + static_cast<double>(s[i][2] + s[i][3]);
  }

  double correlation(double product, int32_t, int32_t) const { return product / static_cast<double>(data.samples); }

  const FeatureSamples& data;
  std::vector<double> means, scales;
};

template <class Features>
Status search(const FeatureSamples& data, int64_t count, std::vector<FeaturePair>* out, const std::atomic<bool>* stop) {
  using Element = typename Features::Element;
  using Sum = typename Features::Sum;
  const int64_t n = data.features, tiles = (n + kTile - 1) / kTile;
  const auto begin = [&](int64_t tile) { return static_cast<int32_t>(n * tile / tiles); };  // tiles of about equal size
  const int64_t work = data.samples * n * n / 2;
  cpu::Team team(static_cast<int>(std::min<int64_t>(cpu::usableThreads(), work / 4'000'000 + 1)));
  Features features(data);
  team.parallel(tiles, [&](int64_t tile, int) {
    if (!(stop && *stop)) features.prepare(begin(tile), begin(tile + 1));
  });

  struct Workspace {
    std::vector<Element> a, b;
    std::vector<Sum> sums;
    Best best;
  };
  std::vector<Workspace> workspaces(static_cast<size_t>(team.size()));
  team.parallel(tiles * (tiles + 1) / 2, [&](int64_t number, int rank) {
    int64_t row = 0;
    for (; number >= tiles - row; ++row) number -= tiles - row;
    const int64_t column = row + number;
    const int32_t firstA = begin(row), firstB = begin(column), countA = begin(row + 1) - firstA,
                  countB = begin(column + 1) - firstB;
    Workspace& w = workspaces[static_cast<size_t>(rank)];
    // Sides are rounded up to whole blocks; what is beyond the features is never read.
    w.a.resize(static_cast<size_t>((kTile + 4) * kStride));
    w.b.resize(static_cast<size_t>((kTile + 4) * kStride));
    constexpr int64_t kSide = kTile + 4;
    w.sums.assign(static_cast<size_t>(kSide * kSide), 0);
    const auto lay = [&](std::vector<Element>& to, int32_t first, int32_t width, int64_t from, int64_t length) {
      for (int64_t s = 0; s < length; s += 16) {
        const int64_t end = std::min<int64_t>(length, s + 16);
        for (int32_t f = 0; f < width; ++f) {
          Element* column = to.data() + f * kStride;
          for (int64_t i = s; i < end; ++i) column[i] = features.element(from + i, first + f);
          for (int64_t i = end; i < s + 16; ++i) column[i] = 0;
        }
      }
    };
    for (int64_t from = 0; from < data.samples; from += kChunk) {
      if (stop && *stop) return;
      const int64_t length = std::min<int64_t>(kChunk, data.samples - from), padded = (length + 15) / 16 * 16;
      lay(w.a, firstA, countA, from, length);
      if (row != column) lay(w.b, firstB, countB, from, length);
      const Element* b = row == column ? w.a.data() : w.b.data();
      for (int32_t i = 0; i < countA; i += 2) {
        for (int32_t j = row == column ? i / 4 * 4 : 0; j < countB; j += 4) {
          Features::multiply(w.a.data() + i * kStride, b + j * kStride, padded, w.sums.data() + i * kSide + j, kSide);
        }
      }
    }
    for (int32_t i = 0; i < countA; ++i) {
      for (int32_t j = row == column ? i + 1 : 0; j < countB; ++j) {
        const double r = std::clamp(
            features.correlation(w.sums[static_cast<size_t>(i * kSide + j)], firstA + i, firstB + j), -1.0, 1.0);
        if (r != 0) w.best.offer({firstA + i, firstB + j, r}, count);
      }
    }
  });
  if (stop && *stop) return {Code::aborted, "stopped while correlating features"};
  out->clear();
  for (const Workspace& w : workspaces) out->insert(out->end(), w.best.pairs.begin(), w.best.pairs.end());
  std::sort(out->begin(), out->end(), Stronger{});
  if (static_cast<int64_t>(out->size()) > count) out->resize(static_cast<size_t>(count));
  return {};
}

}  // namespace

Status strongestPairs(const FeatureSamples& data, int64_t count, std::vector<FeaturePair>* out,
                      const std::atomic<bool>* stop) {
  if (data.samples < 1 || data.features < 1)
    return {Code::invalidArgument, "Expected samples with features, got " + std::to_string(data.samples) + " x " +
                                       std::to_string(data.features)};
  out->clear();
  if (count < 1) return {};
  return data.bytes ? search<OfBytes>(data, count, out, stop) : search<OfFloats>(data, count, out, stop);
}

std::shared_ptr<const std::vector<uint8_t>> FeatureCorrelations::hold(const FeatureSamples& data) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<const std::vector<uint8_t>> held = held_.lock();
  if (!held) {
    const auto* bytes = static_cast<const uint8_t*>(data.x);
    held = std::make_shared<const std::vector<uint8_t>>(bytes,
                                                        bytes + data.samples * data.features * (data.bytes ? 1 : 4));
    held_ = held;
  }
  return held;
}

Status FeatureCorrelations::strongest(const FeatureSamples& data, int64_t count,
                                      std::shared_ptr<const std::vector<FeaturePair>>* out,
                                      const std::atomic<bool>* stop) {
  {
    const std::lock_guard lock(mutex_);
    *out = pairs_;
    if (asked_ >= count) return {};
  }
  // A few more than are asked for: layers of the same density differ by a rounding.
  auto pairs = std::make_shared<std::vector<FeaturePair>>();
  HEBB_RETURN_IF_ERROR(strongestPairs(data, count + 16, pairs.get(), stop));
  const std::lock_guard lock(mutex_);
  if (asked_ < count + 16) {
    pairs_ = pairs;
    asked_ = count + 16;
  }
  *out = std::move(pairs);
  return {};
}

}  // namespace hebb::networks
