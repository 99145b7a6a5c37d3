// Long rows cut into segments, so that a hub is not the work of one warp. Rows are those of a CSR or a CSC view; a
// row's segments begin with the row and are `length` links each but the last.
//
// There is no list of segments and no pass that makes one: the links' places are cut at every multiple of `length`, and
// in [cut, cut + length) at most one segment begins that is not its row's first, because such a segment's predecessor
// fills all before it. So a grid of rows + cuts items, which follows from the capacity alone, has an item for each
// segment; where a topology has fewer, items are empty.
#pragma once

#include "search.cuh"

namespace hebb::cuda {

/// A row, or a segment of one.
struct Segment {
  int32_t row = -1;              // none: nothing to do
  int32_t begin = 0, count = 0;  // its links
  int32_t number = 0, of = 1;    // among the row's segments
  int32_t meeting = 0;           // if there are several: a cut that no other row with several has
};

/// How rows are cut.
struct Segments {
  int32_t length;
  int32_t cuts;  // 0: no row is longer than `length`

  /// Rows are at most `width` links long, all together `capacity`.
  static Segments of(int32_t length, int32_t width, int32_t capacity) {
    return {length, width > length ? (capacity - 1) / length : 0};
  }

  /// Item of cuts + rows: those that begin within a row first, since their rows take longest.
  __device__ __forceinline__ Segment at(const int32_t* offsets, int32_t rows, int32_t item) const {
    if (item < cuts) return within(offsets, rows, item);
    const int32_t row = item - cuts;
    if (row >= rows) return {};
    const int32_t begin = loadReused(offsets + row);
    return segment(row, begin, loadReused(offsets + row + 1), 0);
  }

  /// Item of 2 cuts: every segment of rows that have several, and nothing of others.
  __device__ __forceinline__ Segment ofLong(const int32_t* offsets, int32_t rows, int32_t item) const {
    if (item < cuts) return within(offsets, rows, item);
    if (item >= 2 * cuts) return {};
    const Segment second = within(offsets, rows, item - cuts);
    if (second.number != 1) return {};
    return segment(second.row, second.begin - length, second.begin - length + count(offsets, second.row), 0);
  }

 private:
  __device__ __forceinline__ static int32_t count(const int32_t* offsets, int32_t row) {
    return loadReused(offsets + row + 1) - loadReused(offsets + row);
  }

  __device__ __forceinline__ Segment segment(int32_t row, int32_t begin, int32_t end, int32_t number) const {
    const int32_t first = begin + number * length, left = end - first;
    return {
        row,           first, left < length ? left : length, number, end > begin ? (end - begin - 1) / length + 1 : 1,
        begin / length};
  }

  /// The segment, not its row's first, that begins in [cut, cut + length), cut = (item + 1) * length.
  __device__ __forceinline__ Segment within(const int32_t* offsets, int32_t rows, int32_t item) const {
    const int32_t cut = (item + 1) * length, last = loadReused(offsets + rows);
    if (cut >= last) return {};
    const int32_t row = rowOf(offsets, rows, cut - 1), begin = loadReused(offsets + row),
                  end = loadReused(offsets + row + 1);
    const int32_t number = (cut - begin - 1) / length + 1;
    if (number * length >= end - begin) return {};
    return segment(row, begin, end, number);
  }
};

}  // namespace hebb::cuda
