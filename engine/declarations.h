// What walks through operations' declarations has in common.
#pragma once

#include <string>
#include <type_traits>
#include <vector>

#include "operands.h"

namespace hebb {

template <class T>
concept Declared = requires { T::operands(); };

/// Calls `visit` with each of the declaration's parts, in their order.
template <class Owner, class Visit>
void forEachPart(Visit&& visit) {
  std::apply([&](const auto&... parts) { (visit(parts), ...); }, Owner::operands());
}

/// The same until one fails.
template <class Owner, class Visit>
Status forEachPartUntilError(Visit&& visit) {
  Status status;
  std::apply([&](const auto&... parts) { (void)((status = visit(parts), status.ok()) && ...); }, Owner::operands());
  return status;
}

template <class>
inline constexpr bool isLinks = false;
template <class O>
inline constexpr bool isLinks<declare::Links<O>> = true;
template <class>
inline constexpr bool isElements = false;
template <class O>
inline constexpr bool isElements<declare::Elements<O>> = true;
template <class>
inline constexpr bool isMemory = false;
template <class O, class T>
inline constexpr bool isMemory<declare::Memory<O, T>> = true;
template <class>
inline constexpr bool isAxis = false;
template <class O, class T>
inline constexpr bool isAxis<declare::AxisOperand<O, T>> = true;
template <class>
inline constexpr bool isScalar = false;
template <class O>
inline constexpr bool isScalar<declare::Scalar<O>> = true;
template <class>
inline constexpr bool isNumber = false;
template <class O, class T>
inline constexpr bool isNumber<declare::Number<O, T>> = true;
template <class>
inline constexpr bool isFlag = false;
template <class O>
inline constexpr bool isFlag<declare::Flag<O>> = true;
template <class>
inline constexpr bool isChoice = false;
template <class O, class E>
inline constexpr bool isChoice<declare::Choice<O, E>> = true;
template <class>
inline constexpr bool isGroup = false;
template <class O, class T>
inline constexpr bool isGroup<declare::Group<O, T>> = true;
template <class>
inline constexpr bool isList = false;
template <class O, class T>
inline constexpr bool isList<declare::List<O, T>> = true;
template <class>
inline constexpr bool isGiven = false;
template <class O, class T>
inline constexpr bool isGiven<declare::Given<O, T>> = true;

}  // namespace hebb
