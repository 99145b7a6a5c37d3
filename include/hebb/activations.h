// Activations and their gradients: [features][columns], the batch contiguous, cut into panels of `panel` columns:
// the element (feature f, column c) is data[c / panel * panelStride() + f * panel + c % panel]. A column is a sample or
// a token. They may be a view: some neighbouring rows of larger activations, such as those of one attention head. The
// other rows then lie between its panels, and no operation on the view reads or writes them.
#pragma once

#include <cstdint>

#include "hebb/philox.h"  // HEBB_INLINE

namespace hebb {

/// A view of device memory. `columns` (in device memory, at most `capacity`) says how many columns are valid;
/// operations may skip the others. Up to the next multiple of 16 they hold finite numbers whose gradient is zero. The
/// widths of the panels are the backend's choice.
struct Activations {
  float* data = nullptr;  // [panels][pitch][panel], from the first row on
  int32_t features = 0;
  int32_t capacity = 0;              // columns that fit, as the user asked for
  int32_t panel = 0;                 // columns in a panel, a multiple of 16
  const int32_t* columns = nullptr;  // [1]
  int32_t pitch = 0;                 // rows from a panel to the next; 0: `features`, there are no other rows

  /// Elements from the start of a panel to that of the next.
  HEBB_INLINE int64_t panelStride() const { return int64_t{pitch ? pitch : features} * panel; }
  int32_t panels() const { return panel ? (capacity + panel - 1) / panel : 0; }
};

/// The pointwise function that an operation applies to its output, and by whose derivative the operation before it
/// multiplies.
enum class Activation : int32_t { none = 0, relu = 1 };

}  // namespace hebb
