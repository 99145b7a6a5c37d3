#include "distinct.h"

#include <algorithm>
#include <cstddef>

namespace hebb::cpu {
namespace {

/// A number of [0, range) from 64 random bits; the bias is below range / 2^64.
int64_t scaled(const Philox& p, int64_t range) {
  const uint64_t bits = static_cast<uint64_t>(p.word[0]) << 32 | p.word[1];
  return static_cast<int64_t>(static_cast<unsigned __int128>(bits) * static_cast<uint64_t>(range) >> 64);
}

}  // namespace

std::vector<int64_t> distinctRanks(int64_t count, int64_t range, uint64_t seed, uint32_t step, uint32_t purpose) {
  std::vector<int64_t> chosen;
  if (count <= 0) return chosen;
  // More than half of the range: choose what stays out.
  const bool complement = count > range / 2;
  const int64_t wanted = complement ? range - count : count;
  chosen.reserve(static_cast<size_t>(complement ? count : wanted));
  // Draw, sort, drop repeats, draw again for the ones dropped: by symmetry every set stays equally likely.
  uint64_t draw = 0;
  std::vector<int64_t> set;
  set.reserve(static_cast<size_t>(wanted));
  while (static_cast<int64_t>(set.size()) < wanted) {
    const size_t sorted = set.size();
    for (int64_t missing = wanted - static_cast<int64_t>(sorted); missing > 0; --missing, ++draw) {
      set.push_back(scaled(philox(seed, static_cast<uint32_t>(draw), static_cast<uint32_t>(draw >> 32), step, purpose), range));
    }
    std::sort(set.begin() + static_cast<ptrdiff_t>(sorted), set.end());
    std::inplace_merge(set.begin(), set.begin() + static_cast<ptrdiff_t>(sorted), set.end());
    set.erase(std::unique(set.begin(), set.end()), set.end());
  }
  if (!complement) return set;
  auto out = set.begin();
  for (int64_t i = 0; i < range; ++i) {
    if (out != set.end() && *out == i) ++out;
    else chosen.push_back(i);
  }
  return chosen;
}

}  // namespace hebb::cpu
