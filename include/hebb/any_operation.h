// All operations with their arguments: what a Program is a list of.
#pragma once

#include <variant>

#include "hebb/activation_functions.h"
#include "hebb/add.h"
#include "hebb/attention.h"
#include "hebb/columns.h"
#include "hebb/dropout.h"
#include "hebb/embedding.h"
#include "hebb/gather.h"
#include "hebb/gradient_growth.h"
#include "hebb/gradient_norm.h"
#include "hebb/history.h"
#include "hebb/importance.h"
#include "hebb/layer_norm.h"
#include "hebb/linear.h"
#include "hebb/link_prediction.h"
#include "hebb/loss.h"
#include "hebb/multiply.h"
#include "hebb/operations.h"
#include "hebb/optimizer.h"
#include "hebb/percolate.h"
#include "hebb/pool.h"
#include "hebb/pooling.h"
#include "hebb/rebuild.h"
#include "hebb/regrow.h"
#include "hebb/rotate.h"
#include "hebb/sample.h"
#include "hebb/sddmm.h"
#include "hebb/sequences.h"
#include "hebb/spmm.h"
#include "hebb/step.h"
#include "hebb/weights.h"

namespace hebb {

#define HEBB_TYPE(Type, name) , Type
template <class Dummy, class... Types>
using OperationOf = std::variant<Types...>;
using Operation = OperationOf<void HEBB_OPERATIONS(HEBB_TYPE)>;
#undef HEBB_TYPE

}  // namespace hebb
