// The declarations as JSON, for who writes types or tests from them.
#include "declarations.h"
#include "recorded.h"

namespace hebb {
namespace {

std::string quoted(const std::string& text) { return "\"" + text + "\""; }

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

std::string part(const std::string& name, const char* kind, bool isOptional, const std::string& more = "") {
  return "{\"name\":" + quoted(name) + ",\"kind\":" + quoted(kind) + (isOptional ? ",\"optional\":true" : "") + more +
         "}";
}

template <class Element>
std::string typeAndRole(declare::Role role) {
  return ",\"type\":" + quoted(nameOf(elementTypeOf<Element>())) + ",\"role\":" + quoted(nameOf(role));
}

/// One part, or several, or none.
template <class Part>
std::string describe(const Part& p) {
  if constexpr (isLinks<Part>) {
    const std::string links = part(p.name, "links", p.orShape, ",\"role\":" + quoted(nameOf(p.role)));
    return p.orShape ? links + "," + part("rows", "integer", true) + "," + part("cols", "integer", true) : links;
  } else if constexpr (isElements<Part>) {
    return part(p.links, "links", true, ",\"role\":\"reads\"") + "," + part(p.count, "integer", true);
  } else if constexpr (isMemory<Part>) {
    using T = typename Part::Value;
    const bool isOptional = p.isOptional || p.condition;
    std::string over;
    for (const char* name : p.over) {
      if (name) over += (over.empty() ? "" : ",") + quoted(name);
    }
    if (!over.empty()) over = ",\"over\":[" + over + "]";
    if constexpr (std::is_same_v<T, Activations>)
      return part(p.name, "activations", isOptional, ",\"role\":" + quoted(nameOf(p.role)) + over);
    else return part(p.name, "tensor", isOptional, typeAndRole<std::remove_pointer_t<T>>(p.role));
  } else if constexpr (isScalar<Part>) {
    return part(p.name, "scalar", p.isOptional);
  } else if constexpr (isNumber<Part>) {
    return part(p.name, std::is_integral_v<typename Part::Value> ? "integer" : "number", p.isOptional);
  } else if constexpr (isFlag<Part>) {
    return part(p.name, "flag", true);
  } else if constexpr (isChoice<Part>) {
    std::string names;
    for (const auto& named : namesOf(typename Part::Value{})) names += (names.empty() ? "" : ",") + quoted(named.name);
    return part(p.name, "choice", p.isOptional, ",\"choices\":[" + names + "]");
  } else if constexpr (isGroup<Part>) {
    if (p.isInternal) return "";
    const std::string inner = partsOf<typename Part::Value>();
    return p.name ? part(p.name, "group", p.isOptional, ",\"operands\":[" + inner + "]") : inner;
  } else if constexpr (isList<Part>) {
    using T = typename Part::Value;
    if constexpr (Declared<T>) return part(p.name, "list", false, ",\"operands\":[" + partsOf<T>() + "]");
    else return part(p.name, "list", false, typeAndRole<std::remove_pointer_t<T>>(declare::Role::updates));
  } else {
    return "";
  }
}

template <class Owner>
std::string partsOf() {
  std::string all;
  forEachPart<Owner>([&](const auto& p) {
    const std::string text = describe(p);
    if (!text.empty()) all += (all.empty() ? "" : ",") + text;
  });
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
