// The declarations as JSON, for who writes types or tests from them.
#include "declarations.h"
#include "recorded.h"

namespace hebb {
namespace {

/// Behind a comma, where it is not the first.
void append(std::string* all, const std::string& text) {
  if (!all->empty() && !text.empty()) all->append(",");
  all->append(text);
}

std::string quoted(const std::string& text) { return std::string("\"").append(text).append("\""); }

template <class Owner>
std::string partsOf();

const char* nameOf(declare::Role role) {
  switch (role) {
    case declare::Role::reads: return "reads";
    case declare::Role::writes: return "writes";
    case declare::Role::updates: return "updates";
  }
  return "";
}

std::string part(const char* name, const char* kind, bool isOptional, const std::string& more = "") {
  return "{\"name\":" + quoted(name) + ",\"kind\":" + quoted(kind) + (isOptional ? ",\"optional\":true" : "") + more +
         "}";
}

std::string roleOf(declare::Role role) { return ",\"role\":" + quoted(nameOf(role)); }
std::string typeAndRole(ElementType type, declare::Role role) {
  return ",\"type\":" + quoted(nameOf(type)) + roleOf(role);
}

std::string linksPart(const char* name, declare::Role role, bool orShape) {
  const std::string links = part(name, "links", orShape, roleOf(role));
  return orShape ? links + "," + part("rows", "integer", true) + "," + part("cols", "integer", true) : links;
}
std::string elementsPart(const char* links, const char* count) {
  return part(links, "links", true, roleOf(declare::Role::reads)) + "," + part(count, "integer", true);
}
std::string activationsPart(const char* name, declare::Role role, bool isOptional,
                            const std::array<const char*, 2>& over) {
  std::string names;
  for (const char* one : over) {
    if (one) append(&names, quoted(one));
  }
  return part(name, "activations", isOptional, roleOf(role) + (names.empty() ? "" : ",\"over\":[" + names + "]"));
}
std::string choicePart(const char* name, bool isOptional, const std::vector<const char*>& choices) {
  std::string names;
  for (const char* one : choices) append(&names, quoted(one));
  return part(name, "choice", isOptional, ",\"choices\":[" + names + "]");
}
std::string operandsPart(const char* name, const char* kind, bool isOptional, const std::string& operands) {
  return part(name, kind, isOptional, ",\"operands\":[" + operands + "]");
}

/// One part, or several, or none.
template <class Part>
std::string describe(const Part& p) {
  if constexpr (isLinks<Part>) {
    return linksPart(p.name, p.role, p.orShape);
  } else if constexpr (isElements<Part>) {
    return elementsPart(p.links, p.count);
  } else if constexpr (isMemory<Part>) {
    using T = typename Part::Value;
    const bool isOptional = p.isOptional || p.condition;
    if constexpr (std::is_same_v<T, Activations>) return activationsPart(p.name, p.role, isOptional, p.over);
    else return part(p.name, "tensor", isOptional, typeAndRole(elementTypeOf<std::remove_pointer_t<T>>(), p.role));
  } else if constexpr (isAxis<Part>) {
    return part(p.name, "axis", p.isOptional, roleOf(p.role));
  } else if constexpr (isScalar<Part>) {
    return part(p.name, "scalar", p.isOptional);
  } else if constexpr (isNumber<Part>) {
    return part(p.name, std::is_integral_v<typename Part::Value> ? "integer" : "number", p.isOptional);
  } else if constexpr (isFlag<Part>) {
    return part(p.name, "flag", true);
  } else if constexpr (isChoice<Part>) {
    std::vector<const char*> choices;
    for (const auto& named : namesOf(typename Part::Value{})) choices.push_back(named.name);
    return choicePart(p.name, p.isOptional, choices);
  } else if constexpr (isGroup<Part>) {
    if (p.isInternal) return "";
    const std::string inner = partsOf<typename Part::Value>();
    return p.name ? operandsPart(p.name, "group", p.isOptional, inner) : inner;
  } else if constexpr (isList<Part>) {
    using T = typename Part::Value;
    if constexpr (Declared<T>) return operandsPart(p.name, "list", false, partsOf<T>());
    else
      return part(p.name, "list", false,
                  typeAndRole(elementTypeOf<std::remove_pointer_t<T>>(), declare::Role::updates));
  } else {
    return "";
  }
}

template <class Owner>
std::string partsOf() {
  std::string all;
  forEachPart<Owner>([&](const auto& p) { append(&all, describe(p)); });
  return all;
}

}  // namespace

std::string describeOperations() {
  std::string all;
  const auto add = [&]<class Op>(std::type_identity<Op>, const char* name) {
    if constexpr (Declared<Op>)
      all += std::string(all.empty() ? "" : ",\n") + "{\"name\":" + quoted(name) + ",\"operands\":[" + partsOf<Op>() +
             "]}";
  };
#define HEBB_DESCRIBE(Type, name) add(std::type_identity<Type>(), #name);
  HEBB_OPERATIONS(HEBB_DESCRIBE)
#undef HEBB_DESCRIBE
  return "[" + all + "]";
}

}  // namespace hebb
