// The set is that of the first different numbers of one stream of Philox. cuda/growth.cu finds the same set by sorting,
// so that a change here is one there, too.
#include "distinct.h"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace hebb::cpu {
namespace {

/// A number of [0, range) from 64 random bits; the bias is below range / 2^64.
int64_t scaled(const Philox& p, int64_t range) {
  const uint64_t bits = static_cast<uint64_t>(p.word[0]) << 32 | p.word[1];
  return static_cast<int64_t>(static_cast<unsigned __int128>(bits) * static_cast<uint64_t>(range) >> 64);
}

}  // namespace

void distinctRanks(int64_t count, int64_t range, uint64_t seed, uint32_t step, uint32_t purpose, int64_t* ranks) {
  if (count <= 0) return;
  // More than half of the range: choose what stays out.
  const bool complement = count > range / 2;
  const int64_t wanted = complement ? range - count : count;
  std::vector<int64_t> left(complement ? static_cast<size_t>(wanted) : 0);
  int64_t* const set = complement ? left.data() : ranks;
  // Draw, sort, drop repeats, draw again for the ones dropped: by symmetry every set stays equally likely.
  uint64_t draw = 0;
  for (int64_t size = 0; size < wanted;) {
    for (int64_t n = size; n < wanted; ++n, ++draw)
      set[n] =
          scaled(philox(seed, static_cast<uint32_t>(draw), static_cast<uint32_t>(draw >> 32), step, purpose), range);
    std::sort(set + size, set + wanted);
    std::inplace_merge(set, set + size, set + wanted);
    size = std::unique(set, set + wanted) - set;
  }
  if (!complement) return;
  for (int64_t i = 0, out = 0; i < range; ++i) {
    if (out < wanted && set[out] == i) ++out;
    else *ranks++ = i;
  }
}

}  // namespace hebb::cpu
