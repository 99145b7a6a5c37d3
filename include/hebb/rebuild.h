// Brings a layer's links, values and optimizer state to a new topology, in place.
#pragma once

#include <cstdint>
#include <vector>

#include "hebb/csr.h"
#include "hebb/operands.h"
#include "hebb/regrow.h"

namespace hebb {

/// Opens an update: nothing is removed and nothing is new yet.
struct BeginUpdate {
  Csr links;
  LinkChanges changes;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{sparse("links", &BeginUpdate::links),
                      group("changes", &BeginUpdate::changes, perLink<&BeginUpdate::links>)};
  }
};

/// Closes an update. Kept links keep their place in every array; new ones start at 0; a link that was removed and
/// chosen again keeps what it had. Writes both views of the topology. An update that is not closed has changed nothing.
struct Rebuild {
  Csr links;
  LinkChanges changes;
  std::vector<float*> arrays;  // each [capacity] device: values and optimizer state

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{updatedSparse("links", &Rebuild::links),
                      group("changes", &Rebuild::changes, perLink<&Rebuild::links>),
                      list("arrays", &Rebuild::arrays, perLink<&Rebuild::links>)};
  }
};

/// Fills the CSC view (columnOffsets, rowIndices) and cscSlots from the CSR view.
struct Transpose {
  Csr links;
};

}  // namespace hebb
