// Compiled once per level of SIMD: enters this level's operations into the table.
#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {

void bind(Operations& table) {
#define HEBB_BIND(Type, name) table.name = name;
  HEBB_WIDE_OPERATIONS(HEBB_BIND)
#undef HEBB_BIND
}

}  // namespace hebb::cpu::HEBB_LEVEL
