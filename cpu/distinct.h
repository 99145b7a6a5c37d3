// Uniform choice without replacement from a range: the random sets behind Erdos-Renyi networks, random regrowth and
// fill-ins.
#pragma once

#include <cstdint>

#include "hebb/philox.h"

namespace hebb::cpu {

/// Fills ranks [count] with distinct numbers of [0, range), ascending, every set as likely as any other. O(count log
/// count) time; throws std::bad_alloc. Draws are Philox at counters (index, step, purposeWord).
void distinctRanks(int64_t count, int64_t range, uint64_t seed, uint32_t step, uint32_t purpose, int64_t* ranks);

}  // namespace hebb::cpu
