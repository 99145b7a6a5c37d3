// Dense products in registers: some rows of the result times some vectors of its columns, a multiple of a row of the
// right factor added to each at a time.
#pragma once

#include <type_traits>

#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {

/// Calls body(0), body(1) and so on, N times, without a loop: what it indexes may then stay in registers.
template <int N, class Body>
HEBB_INLINE void unrolled(const Body& body) {
  [&]<int... I>(std::integer_sequence<int, I...>) { (body(I), ...); }(std::make_integer_sequence<int, N>{});
}

/// sum[r] += the sum over b < n of coefficients[r * rowStride + b * stride] * in[b]. The sums are in registers here,
/// wherever the caller's are.
template <int R, int NV>
HEBB_INLINE void addOuterProducts(const float* coefficients, int64_t rowStride, int64_t stride, int32_t n,
                                  const float* in, int64_t panel, Vec (&sum)[R][NV]) {
  Vec mine[R][NV];
  for (int r = 0; r < R; ++r) {
    for (int i = 0; i < NV; ++i) mine[r][i] = sum[r][i];
  }
  for (int32_t b = 0; b < n; ++b) {
    Vec x[NV];
    for (int i = 0; i < NV; ++i) x[i] = load(in + b * panel + i * W);
    for (int r = 0; r < R; ++r) {
      const Vec c = splat(coefficients[r * rowStride + b * stride]);
      for (int i = 0; i < NV; ++i) mine[r][i] = mulAdd(c, x[i], mine[r][i]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int i = 0; i < NV; ++i) sum[r][i] = mine[r][i];
  }
}

/// Calls body(R, NV, row, column), the first two as constants, over `rows` rows, R of them at once, and `columns` (a
/// multiple of W), NV vectors at once.
template <int R, class Body>
HEBB_INLINE void eachTile(int32_t rows, int32_t columns, const Body& body) {
  using One = std::integral_constant<int, 1>;
  using Two = std::integral_constant<int, 2>;
  const auto across = [&](auto several, int32_t row) {
    int32_t c = 0;
    for (; c + 2 * W <= columns; c += 2 * W) body(several, Two{}, row, c);
    if (c < columns) body(several, One{}, row, c);
  };
  int32_t row = 0;
  for (; row + R <= rows; row += R) across(std::integral_constant<int, R>{}, row);
  for (; row < rows; ++row) across(One{}, row);
}

}  // namespace hebb::cpu::HEBB_LEVEL
