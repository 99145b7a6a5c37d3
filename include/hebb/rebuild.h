// Brings a layer's links, values and optimizer state to a new topology, in place.
#pragma once

#include <cstdint>
#include <vector>

#include "hebb/csr.h"
#include "hebb/regrow.h"

namespace hebb {

/// Opens an update: nothing is removed and nothing is new yet.
struct BeginUpdate {
  Csr links;
  LinkChanges changes;
};

/// Closes an update. Kept links keep their place in every array; new ones start at 0; a link that was removed and
/// chosen again keeps what it had. Writes both views of the topology. An update that is not closed has changed nothing.
struct Rebuild {
  Csr links;
  LinkChanges changes;
  std::vector<float*> arrays;  // each [capacity] device: values and optimizer state
};

/// Fills the CSC view (columnOffsets, rowIndices) and cscSlots from the CSR view.
struct Transpose {
  Csr links;
};

}  // namespace hebb
