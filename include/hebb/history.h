// The links that were ever active: what in-time over-parameterisation (ITOP; Liu et al., ICML 2021) counts.
#pragma once

#include <cstdint>

#include "hebb/csr.h"
#include "hebb/operands.h"
#include "hebb/regrow.h"

namespace hebb {

/// ever = ever united with the layer's links. Sorted, as row * cols + col. count tells how many there are; the caller
/// provides capacity for the union (at most count + links), else the operation fails and changes nothing. The second
/// form, `bits` in place of ever and capacity, has one bit a cell: bit c % 64 of word c / 64 of a row.
struct UniteLinks {
  Csr links;
  uint64_t* ever = nullptr;  // [capacity] device
  int64_t* count = nullptr;  // [1] device
  int64_t capacity = 0;
  uint64_t* bits = nullptr;  // [rows][wordsOf(cols)] device

  static int64_t wordsOf(int32_t cols) { return (int64_t{cols} + 63) / 64; }

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{sparse("links", &UniteLinks::links),
                      OneOf{"ever", "bits"},
                      Together{"ever", "capacity"},
                      integer("capacity", &UniteLinks::capacity, 1, kLargestInteger).optional(),
                      updates("ever", &UniteLinks::ever, numberOf<&UniteLinks::capacity>).optional(),
                      updates("bits", &UniteLinks::bits,
                              [](const UniteLinks& op, int64_t) { return op.links.rows * wordsOf(op.links.cols); })
                          .optional(),
                      updates("count", &UniteLinks::count, exactly<UniteLinks, 1>)};
  }
};

/// Counts the new links of an update, and those of them that it has removed before: when nearly all of them return, a
/// layer has found its topology (CHT's early stop; Zhang et al., ICLR 2024).
struct ReturnedLinks {
  Csr links;
  LinkChanges changes;
  int32_t* counts = nullptr;  // [2] device: new links that were removed in this update, new links

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{sparse("links", &ReturnedLinks::links),
                      group("changes", &ReturnedLinks::changes, perLink<&ReturnedLinks::links>),
                      writes("counts", &ReturnedLinks::counts, exactly<ReturnedLinks, 2>)};
  }
};

/// Counts the layer's active neurons and its links.
struct ActiveNeurons {
  Csr links;
  int32_t* counts = nullptr;  // [3] device: columns (inputs) with a link, rows (outputs) with a link, links

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{sparse("links", &ActiveNeurons::links),
                      writes("counts", &ActiveNeurons::counts, exactly<ActiveNeurons, 3>)};
  }
};

}  // namespace hebb
