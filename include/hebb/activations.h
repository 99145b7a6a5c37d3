// Activations and their gradients: [features][columns], the batch contiguous, cut into panels of `panel` columns:
// the element (feature f, column c) is data[(c / panel * features + f) * panel + c % panel]. A column is a sample or a
// token.
#pragma once

#include <cstdint>

namespace hebb {

/// A view of device memory. `columns` (in device memory, at most `capacity`) says how many columns are valid;
/// operations may skip the others. Up to the next multiple of 16 they hold finite numbers whose gradient is zero. The
/// widths of the panels are the backend's choice.
struct Activations {
  float* data = nullptr;  // [panels][features][panel]
  int32_t features = 0;
  int32_t capacity = 0;              // columns that fit, as the user asked for
  int32_t panel = 0;                 // columns in a panel, a multiple of 16
  const int32_t* columns = nullptr;  // [1]
  int32_t pitch = 0;  // rows from one panel to the next in the buffer that this is a view of; 0: features

  int32_t panels() const { return panel ? (capacity + panel - 1) / panel : 0; }
};

/// The pointwise function that an operation applies to its output, and by whose derivative the operation before it
/// multiplies.
enum class Activation : int32_t { none = 0, relu = 1 };

}  // namespace hebb
