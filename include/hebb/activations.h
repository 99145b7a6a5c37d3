// Activations and their gradients: [features][columns], the batch contiguous, cut into panels of `panel` columns:
// the element (feature f, column c) is data[c / panel * panelStride() + f * panel + c % panel]. A column is a sample or
// a token. They may be a view: some neighbouring rows of larger activations, such as those of one attention head. The
// other rows then lie between its panels, and no operation on the view reads or writes them.
#pragma once

#include <cstdint>

#include "hebb/philox.h"  // HEBB_INLINE

namespace hebb {

/// The columns of a step: how many there are, and which ones of the whole batch. It lies in device memory, so that one
/// recording serves every step. The whole batch is a step's, over all its micro-batches.
struct Axis {
  int32_t columns = 0;  // valid ones, at most the capacity of what lies along the axis
  int32_t first = 0;    // number of the first in the whole batch, a multiple of 16: what draws are keyed by
  int32_t whole = 0;    // columns of the whole batch: what means divide by
};

/// How a backend keeps the numbers of activations and their gradients.
enum class Format : uint8_t { float32 };
constexpr int64_t bytesOf(Format) { return 4; }

/// A view of device memory. `axis` says how many columns are valid; operations may skip the others. Up to the next
/// multiple of 16 they hold finite numbers whose gradient is zero. The widths of the panels are the backend's choice.
struct Activations {
  float* data = nullptr;  // [panels][pitch][panel], from the first row on
  int32_t features = 0;
  int32_t capacity = 0;        // columns that fit, as the user asked for
  int32_t panel = 0;           // columns in a panel, a multiple of 16
  const Axis* axis = nullptr;  // device; null: all columns that fit are valid, and they are the whole batch
  int32_t pitch = 0;           // rows from a panel to the next; 0: `features`, there are no other rows
  Format format = Format::float32;

  /// Elements from the start of a panel to that of the next.
  HEBB_INLINE int64_t panelStride() const { return int64_t{pitch ? pitch : features} * panel; }
  /// Where the memory of an axis can be read.
  HEBB_INLINE int32_t columns() const { return axis ? axis->columns : capacity; }
  HEBB_INLINE int32_t firstColumn() const { return axis ? axis->first : 0; }
  HEBB_INLINE int32_t wholeBatch() const { return axis ? axis->whole : capacity; }
  int32_t panels() const { return panel ? (capacity + panel - 1) / panel : 0; }
};

/// The pointwise function that an operation applies to its output, and by whose derivative the operation before it
/// multiplies.
enum class Activation : int32_t { none = 0, relu = 1 };

}  // namespace hebb
