// Columns that change their places: some of them are picked, or put somewhere. A cache of keys and values is memory
// into which each step puts its columns, and of which attention is given those of each sequence. Or
// neighbours are taken out and put back: what is large is computed for some columns at a time.
#pragma once

#include <cstdint>

#include "hebb/activations.h"
#include "hebb/operands.h"

namespace hebb {

/// output[f][c] = input[f][indices[c]]. An index that is no column of input ends the step.
struct GatherColumns {
  Activations input;                 // [features][columns of another axis, or memory with room for a batch]
  const int32_t* indices = nullptr;  // [columns of the whole batch] device, each in [0, capacity of input)
  Activations output;                // [features][columns]

  static constexpr auto operands() {
    using namespace declare;
    using Op = GatherColumns;
    return std::tuple{writes("output", &Op::output, exactly<Op, 0>), reads("indices", &Op::indices, outside<Op>),
                      reads("input", &Op::input, featuresOf<&Op::output>).alongOther()};
  }
};

/// output[f][indices[c]] = input[f][c]; the other columns of output stay. An index that is no column of output ends the
/// step, and nothing is written. Indices are distinct: of columns with the same one, any may be written.
struct ScatterColumns {
  Activations input;                 // [features][columns]
  const int32_t* indices = nullptr;  // [columns of the whole batch] device, each in [0, capacity of output)
  Activations output;                // [features][columns of another axis, or memory with room for a batch]

  static constexpr auto operands() {
    using namespace declare;
    using Op = ScatterColumns;
    return std::tuple{reads("input", &Op::input, exactly<Op, 0>), reads("indices", &Op::indices, outside<Op>),
                      updates("output", &Op::output, featuresOf<&Op::input>).alongOther()};
  }
};

/// output = the columns of input that output's axis, a part of input's, has.
struct TakeColumns {
  Activations input;   // [features][columns of the whole]
  Activations output;  // [features][columns of the part]

  static constexpr auto operands() {
    using namespace declare;
    using Op = TakeColumns;
    return std::tuple{writes("output", &Op::output, exactly<Op, 0>),
                      reads("input", &Op::input, featuresOf<&Op::output>).alongOther()};
  }
};

/// output = input in those of its columns that input's axis, a part of output's, has, and 0 in the others; or, with
/// `keep`, what they were.
struct PutColumns {
  Activations input;   // [features][columns of the part]
  Activations output;  // [features][columns of the whole]
  bool keep = false;

  static constexpr auto operands() {
    using namespace declare;
    using Op = PutColumns;
    return std::tuple{reads("input", &Op::input, exactly<Op, 0>), flag("keep", &Op::keep),
                      updates("output", &Op::output, featuresOf<&Op::input>).addsIf(&Op::keep).alongOther()};
  }
};

}  // namespace hebb
