// How an operation declares its operands, once, beside its struct: the names that users know, where each lies in the
// struct, what is done with its memory, and how large it must be. From the declaration follow the reading of arguments
// and the refusal of unknown names, the checks of shapes and of memory, what a step changes that lasts, what may be
// fused, the binding to addresses, and the types of lib/operands.ts.
#pragma once

#include <array>
#include <cstdint>
#include <tuple>
#include <type_traits>
#include <vector>

#include "hebb/activations.h"
#include "hebb/csr.h"

namespace hebb {

struct StepState;

/// One of an enumeration's values and its name. An enumeration that is an operand has a function namesOf(E) that gives
/// all of them.
template <class E>
struct Named {
  const char* name;
  E value;
};

constexpr auto namesOf(Activation) {
  return std::array{Named<Activation>{"none", Activation::none}, Named<Activation>{"relu", Activation::relu}};
}

namespace declare {

/// What an operation does with memory. `writes`: all of what it is given, and it reads nothing of it before.
enum class Role : uint8_t { reads, writes, updates };

/// Elements of an array, or features of activations, that an operand must have at least or exactly; 0: any number.
/// `outer` is what the group around the operand was given, and outside of groups the columns of a full batch.
template <class Owner>
using Extent = int64_t (*)(const Owner& owner, int64_t outer);
template <class Owner>
using Condition = bool (*)(const Owner& owner);

/// Where an operand lies in its struct. By an alias: nvcc would put T Owner::*member into parentheses, and GCC warn.
template <class Owner, class T>
using Field = T Owner::*;

template <class Member>
struct MemberOf;
template <class O, class T>
struct MemberOf<T O::*> {
  using Owner = O;
  using Type = T;
};
template <auto Member>
using OwnerOf = typename MemberOf<decltype(Member)>::Owner;

// Extents.
template <auto Links>
constexpr Extent<OwnerOf<Links>> perLink =
    [](const OwnerOf<Links>& op, int64_t) -> int64_t { return (op.*Links).capacity; };
template <auto Links>
constexpr Extent<OwnerOf<Links>> rowsOf = [](const OwnerOf<Links>& op, int64_t) -> int64_t { return (op.*Links).rows; };
template <auto Links>
constexpr Extent<OwnerOf<Links>> colsOf = [](const OwnerOf<Links>& op, int64_t) -> int64_t { return (op.*Links).cols; };
template <auto Batch>
constexpr Extent<OwnerOf<Batch>> featuresOf =
    [](const OwnerOf<Batch>& op, int64_t) -> int64_t { return (op.*Batch).features; };
template <auto Number>
constexpr Extent<OwnerOf<Number>> numberOf = [](const OwnerOf<Number>& op, int64_t) -> int64_t { return op.*Number; };
template <class Owner, int64_t Count>
constexpr Extent<Owner> exactly = [](const Owner&, int64_t) -> int64_t { return Count; };
template <class Owner>
constexpr Extent<Owner> outside = [](const Owner&, int64_t outer) -> int64_t { return outer; };

/// A layer's links; with `orShape`, or in place of them the integers `rows` and `cols` of a matrix with all of them.
template <class Owner>
struct Links {
  const char* name;
  Field<Owner, Csr> member;
  Role role = Role::reads;
  bool orShape = false;
};

/// How many elements arrays have: as many as the layer `links` has links, or the integer `count`.
template <class Owner>
struct Elements {
  const char *links, *count;
  Field<Owner, int64_t> capacity;
  Field<Owner, const int32_t*> used;  // where the links' number is; null for `count`
};

/// An array (T is a pointer) or activations.
template <class Owner, class T>
struct Memory {
  using Value = T;
  const char* name;
  Field<Owner, T> member;
  Role role;
  Extent<Owner> extent;
  bool isOptional = false;
  bool isTransient = false;              // what it holds matters to nobody when the step, or the update, is over
  Condition<Owner> condition = nullptr;  // taken where it holds, and else not looked at
  Field<Owner, bool> adds = nullptr;     // a flag, declared before: where it is not set, all of it is written
  std::array<const char*, 2> over{};     // operands whose memory it may be: an element is written after it was read
  bool isOther = false;                  // activations that may have other columns than those without the word

  constexpr Memory optional() const {
    return with([](Memory& m) { m.isOptional = true; });
  }
  constexpr Memory transient() const {
    return with([](Memory& m) { m.isTransient = true; });
  }
  constexpr Memory alongOther() const {
    return with([](Memory& m) { m.isOther = true; });
  }
  constexpr Memory when(Condition<Owner> holds) const {
    Memory m = *this;
    m.condition = holds;
    return m;
  }
  constexpr Memory addsIf(Field<Owner, bool> flag) const {
    Memory m = *this;
    m.adds = flag;
    return m;
  }
  constexpr Memory inPlaceOf(const char* first, const char* second = nullptr) const {
    Memory m = *this;
    m.over = {first, second};
    return m;
  }

 private:
  template <class Change>
  constexpr Memory with(Change change) const {
    Memory m = *this;
    change(m);
    return m;
  }
};

/// An axis of the Program's own, not a part of its batch, with the columns that fit.
template <class Owner, class T>
struct AxisOperand {
  using Value = T;
  const char* name;
  Field<Owner, T> member;
  Field<Owner, int32_t> columns;
  Role role;
  bool isOptional = false;

  constexpr AxisOperand optional() const { return {name, member, columns, role, true}; }
};

/// A number of the Program's scalar table, by its index.
template <class Owner>
struct Scalar {
  const char* name;
  Field<Owner, const double*> member;
  bool isOptional = false;

  constexpr Scalar optional() const { return {name, member, true}; }
};

/// A number that does not change.
template <class Owner, class T>
struct Number {
  using Value = T;
  const char* name;
  Field<Owner, T> member;
  double least, most;
  bool isOptional = false;

  constexpr Number optional() const { return {name, member, least, most, true}; }
};

/// false where it is not given, or what another flag is.
template <class Owner>
struct Flag {
  const char* name;
  Field<Owner, bool> member;
  Field<Owner, bool> otherwise = nullptr;
};

/// One of an enumeration's values, by its name.
template <class Owner, class E>
struct Choice {
  using Value = E;
  const char* name;
  Field<Owner, E> member;
  bool isOptional = false;

  constexpr Choice optional() const { return {name, member, true}; }
};

/// Operands of a struct of their own. Without a name they stand among the others. `isInternal`: the engine fills it,
/// when it fuses.
template <class Owner, class T>
struct Group {
  using Value = T;
  const char* name;
  Field<Owner, T> member;
  Extent<Owner> extent;
  bool isOptional = false;
  bool isInternal = false;

  constexpr Group optional() const { return {name, member, extent, true, isInternal}; }
  constexpr Group internal() const { return {name, member, extent, true, true}; }
};

/// Structs with operands of their own, or arrays that are updated.
template <class Owner, class T>
struct List {
  using Value = T;
  const char* name;
  Field<Owner, std::vector<T>> member;
  Extent<Owner> extent;
};

/// What the Program has and a user does not give: its state, or the number of the step.
template <class Owner, class T>
struct Given {
  using Value = T;
  Field<Owner, T> member;
};

/// Of these operands one is given.
struct OneOf {
  const char *first, *second;
};
/// Both of these operands are given, or none of them.
struct Together {
  const char *first, *second;
};

template <class Owner>
constexpr Links<Owner> sparse(const char* name, Csr Owner::* member) {
  return {name, member};
}
template <class Owner>
constexpr Links<Owner> updatedSparse(const char* name, Csr Owner::* member) {
  return {name, member, Role::updates};
}
template <class Owner>
constexpr Links<Owner> sparseOrShape(const char* name, Csr Owner::* member) {
  return {name, member, Role::reads, true};
}
template <class Owner>
constexpr Elements<Owner> elements(const char* links, const char* count, int64_t Owner::* capacity,
                                   const int32_t* Owner::* used) {
  return {links, count, capacity, used};
}
template <class Owner, class T>
constexpr Memory<Owner, T> reads(const char* name, T Owner::* member, std::type_identity_t<Extent<Owner>> extent) {
  return {name, member, Role::reads, extent};
}
template <class Owner, class T>
constexpr Memory<Owner, T> writes(const char* name, T Owner::* member, std::type_identity_t<Extent<Owner>> extent) {
  return {name, member, Role::writes, extent};
}
template <class Owner, class T>
constexpr Memory<Owner, T> updates(const char* name, T Owner::* member, std::type_identity_t<Extent<Owner>> extent) {
  return {name, member, Role::updates, extent};
}
template <class Owner>
constexpr AxisOperand<Owner, const Axis*> readsAxis(const char* name, const Axis* Owner::* member,
                                                    int32_t Owner::* columns) {
  return {name, member, columns, Role::reads};
}
template <class Owner>
constexpr AxisOperand<Owner, Axis*> writesAxis(const char* name, Axis* Owner::* member, int32_t Owner::* columns) {
  return {name, member, columns, Role::writes};
}
template <class Owner>
constexpr Scalar<Owner> scalar(const char* name, const double* Owner::* member) {
  return {name, member};
}
constexpr double kLargestInt32 = 2147483647, kLargestInteger = 9007199254740991;
template <class Owner, class T>
constexpr Number<Owner, T> number(const char* name, T Owner::* member, double least = -1e300, double most = 1e300) {
  return {name, member, least, most};
}
template <class Owner, class T>
constexpr Number<Owner, T> integer(const char* name, T Owner::* member, double least, double most = kLargestInt32) {
  return {name, member, least, most};
}
template <class Owner>
constexpr Number<Owner, uint64_t> seeded(uint64_t Owner::* member) {
  return {"seed", member, 0, kLargestInteger};
}
template <class Owner>
constexpr Flag<Owner> flag(const char* name, bool Owner::* member, bool Owner::* otherwise = nullptr) {
  return {name, member, otherwise};
}
template <class Owner, class E>
constexpr Choice<Owner, E> choice(const char* name, E Owner::* member) {
  return {name, member};
}
template <class Owner, class T>
constexpr Group<Owner, T> group(const char* name, T Owner::* member, std::type_identity_t<Extent<Owner>> extent) {
  return {name, member, extent};
}
template <class Owner, class T>
constexpr List<Owner, T> list(const char* name, std::vector<T> Owner::* member,
                              std::type_identity_t<Extent<Owner>> extent) {
  return {name, member, extent};
}
template <class Owner, class T>
constexpr Given<Owner, T> given(T Owner::* member) {
  return {member};
}

}  // namespace declare
}  // namespace hebb
