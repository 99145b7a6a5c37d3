// Reads operands by an operation's declaration, and checks them. Errors name the operand as the user does.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "declarations.h"
#include "recorded.h"

namespace hebb {
namespace {

std::string kindOf(const Operand* operand) {
  if (!operand) return "nothing";
  return std::visit(
      [](const auto& value) -> std::string {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, double> || std::is_same_v<T, int64_t>)
          return "the number " + std::to_string(value);
        else if constexpr (std::is_same_v<T, bool>) return value ? "true" : "false";
        else if constexpr (std::is_same_v<T, std::string>) return "'" + value + "'";
        else if constexpr (std::is_same_v<T, TensorView>) return "a tensor";
        else if constexpr (std::is_same_v<T, ActivationsView>) return "activations";
        else if constexpr (std::is_same_v<T, std::shared_ptr<SparseMatrix>>) return "a sparse matrix";
        else if constexpr (std::is_same_v<T, OperandList>) return "an array";
        else return "an object";
      },
      operand->value);
}

/// Insertions, deletions and replacements that lead from one name to another.
size_t distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
    }
  }
  return row[b.size()];
}

/// Whether the operand of this name lies along the operation's other axis.
template <class Op>
bool isAlongOther(const std::string& name) {
  bool isOther = false;
  forEachPart<Op>([&](const auto& part) {
    if constexpr (isMemory<std::decay_t<decltype(part)>>) isOther = isOther || (part.isOther && name == part.name);
  });
  return isOther;
}

template <class Owner>
void addNames(std::vector<std::string>* names) {
  forEachPart<Owner>([&](const auto& part) {
    using Part = std::decay_t<decltype(part)>;
    if constexpr (isGroup<Part>) {
      if (part.isInternal) return;
      if (part.name) names->push_back(part.name);
      else addNames<typename Part::Value>(names);
    } else if constexpr (isElements<Part>) {
      names->insert(names->end(), {part.links, part.count});
    } else if constexpr (isLinks<Part>) {
      names->push_back(part.name);
      if (part.orShape) names->insert(names->end(), {"rows", "cols"});
    } else if constexpr (requires { part.name; }) {
      names->push_back(part.name);
    }
  });
}

/// What does not depend on the operation is in functions of its own, which are compiled once.
class Reader {
 public:
  Reader(const Surroundings& surroundings, Recorded* out) : around_(surroundings), out_(*out) {}

  template <class Op>
  Status operation(const Operands& given) {
    Op op;
    findAxes(given, isAlongOther<Op>);
    HEBB_RETURN_IF_ERROR((group<Op>(&op, given, "", around_.columnsOf(out_.axes[0]))));
    HEBB_RETURN_IF_ERROR(apart());
    if constexpr (requires { Op::check(op); }) HEBB_RETURN_IF_ERROR(Op::check(op));
    out_.operation = std::move(op);
    return {};
  }

 private:
  /// The first value along an axis has it.
  void findAxes(const Operands& given, bool (*isOther)(const std::string&)) {
    for (const NamedOperand& one : given.all()) {
      const auto* view = std::get_if<ActivationsView>(&one.operand.value);
      if (!view || !view->buffer || !view->buffer->isValue()) continue;
      const size_t which = isOther(one.name);
      if (along_[which].isKnown) continue;
      along_[which].isKnown = true;
      out_.axes[which] = view->buffer->axis();
    }
  }

  template <class Owner>
  Status group(Owner* owner, const Operands& given, const std::string& prefix, int64_t outer) {
    std::vector<std::string> names;
    addNames<Owner>(&names);
    HEBB_RETURN_IF_ERROR(known(names, given, prefix));
    return parts(owner, given, prefix, outer);
  }

  static Status known(const std::vector<std::string>& names, const Operands& given, const std::string& prefix) {
    for (const NamedOperand& one : given.all()) {
      if (std::find(names.begin(), names.end(), one.name) != names.end()) continue;
      std::string all, closest;
      for (const std::string& name : names) {
        all += (all.empty() ? "" : ", ") + name;
        if (distance(one.name, name) <= 2 &&
            (closest.empty() || distance(one.name, name) < distance(one.name, closest)))
          closest = name;
      }
      return refuse("Expected operands named " + all + ", got '" + prefix + one.name + "'." +
                    (closest.empty() ? "" : " Did you mean '" + prefix + closest + "'?"));
    }
    return {};
  }

  template <class Owner>
  Status parts(Owner* owner, const Operands& given, const std::string& prefix, int64_t outer) {
    return forEachPartUntilError<Owner>([&](const auto& part) { return read(part, owner, given, prefix, outer); });
  }

  /// Slots for operands that are not given.
  template <class Owner>
  void absent(const std::string& prefix) {
    forEachPart<Owner>([&](const auto& part) {
      using Part = std::decay_t<decltype(part)>;
      if constexpr (isGroup<Part>) absent<typename Part::Value>(pathOf(prefix, part.name));
      else if constexpr (isElements<Part>) add(prefix + part.links);
      else if constexpr (isGiven<Part>) add(prefix + "state");
      else if constexpr (isLinks<Part> || isMemory<Part> || isAxis<Part> || isScalar<Part>) add(prefix + part.name);
    });
  }

  static std::string pathOf(const std::string& prefix, const char* group) {
    return group ? prefix + group + "." : prefix;
  }

  Slot& add(std::string name) {
    out_.slots.emplace_back();
    out_.slots.back().name = std::move(name);
    return out_.slots.back();
  }

  Status onDevice(const std::shared_ptr<Device>& device, const std::string& name) const {
    return device == around_.device ? Status{} : refuse("Expected " + name + " to be on the program's device");
  }

  Status matrix(const Operand* operand, const std::string& name, declare::Role role, Csr* links) {
    const auto* matrix = operand ? std::get_if<std::shared_ptr<SparseMatrix>>(&operand->value) : nullptr;
    if (!matrix) return refuse("Expected " + name + " to be a sparse matrix, got " + kindOf(operand));
    HEBB_RETURN_IF_ERROR(onDevice((*matrix)->device(), name));
    Slot& slot = add(name);
    slot.role = role;
    slot.unit = Slot::Unit::links;
    slot.links = *matrix;
    const Csr& csr = (*matrix)->csr();
    links->rows = csr.rows;
    links->cols = csr.cols;
    links->capacity = csr.capacity;
    return {};
  }

  /// A number as it was given, exact where it is an integer.
  struct Given {
    int64_t integer = 0;
    double real = 0;
    bool isExact = false;
  };

  template <class T>
  static Status number(const Operand* operand, const std::string& name, double least, double most, T* out) {
    Given given;
    HEBB_RETURN_IF_ERROR(number(operand, name, least, most, std::is_integral_v<T>, &given));
    *out = given.isExact && std::is_integral_v<T> ? static_cast<T>(given.integer) : static_cast<T>(given.real);
    return {};
  }

  static Status number(const Operand* operand, const std::string& name, double least, double most, bool isInteger,
                       Given* out) {
    const auto* integer = operand ? std::get_if<int64_t>(&operand->value) : nullptr;
    const auto* real = operand ? std::get_if<double>(&operand->value) : nullptr;
    const char* what = isInteger ? "an integer" : "a number";
    if (!integer && !real) return refuse("Expected " + name + " to be " + what + ", got " + kindOf(operand));
    const double value = integer ? static_cast<double>(*integer) : *real;
    if (!(value >= least && value <= most) || (isInteger && value != std::floor(value))) {
      const auto text = [](double n) {
        if (n != std::floor(n) || std::abs(n) > 9e15) {
          char shortest[32];
          std::snprintf(shortest, sizeof shortest, "%g", n);
          return std::string(shortest);
        }
        return std::to_string(static_cast<int64_t>(n));
      };
      std::string range = " of at least " + text(least);
      if (most < 1e300) range += " and at most " + text(most);
      return refuse("Expected " + name + " to be " + what + (least > -1e300 ? range : "") + ", got " + text(value));
    }
    *out = {integer ? *integer : 0, value, integer != nullptr};
    return {};
  }

  template <class Owner>
  Status read(const declare::Links<Owner>& part, std::type_identity_t<Owner>* owner, const Operands& given,
              const std::string& prefix, int64_t) {
    return links(part.name, part.role, part.orShape, given, prefix, &(owner->*part.member));
  }

  Status links(const char* name, declare::Role role, bool orShape, const Operands& given, const std::string& prefix,
               Csr* out) {
    const Operand* operand = given.find(name);
    if (!orShape || operand) {
      for (const char* other : {"rows", "cols"}) {
        if (orShape && given.find(other))
          return refuse(std::string("Expected either ") + name + " or rows and cols, got " + name + " and " + other);
      }
      return matrix(operand, prefix + name, role, out);
    }
    add(prefix + name);
    HEBB_RETURN_IF_ERROR(number(given.find("rows"), prefix + "rows", 1, declare::kLargestInt32, &out->rows));
    return number(given.find("cols"), prefix + "cols", 1, declare::kLargestInt32, &out->cols);
  }

  template <class Owner>
  Status read(const declare::Elements<Owner>& part, std::type_identity_t<Owner>* owner, const Operands& given,
              const std::string& prefix, int64_t) {
    return elements(part.links, part.count, given, prefix, &(owner->*part.capacity));
  }

  Status elements(const char* links, const char* count, const Operands& given, const std::string& prefix,
                  int64_t* capacity) {
    const Operand *layer = given.find(links), *number = given.find(count);
    if (layer && number) return refuse(std::string("Expected either ") + links + " or " + count + ", got both");
    if (layer) {
      Csr csr;
      HEBB_RETURN_IF_ERROR(matrix(layer, prefix + links, declare::Role::reads, &csr));
      *capacity = csr.capacity;
      return {};
    }
    add(prefix + links);
    return Reader::number(number, prefix + count, 1, declare::kLargestInt32, capacity);
  }

  template <class Owner, class T>
  Status read(const declare::Memory<Owner, T>& part, std::type_identity_t<Owner>* owner, const Operands& given,
              const std::string& prefix, int64_t outer) {
    const Operand* operand = given.find(part.name);
    Slot& slot = add(prefix + part.name);
    if ((!operand && part.isOptional) || (part.condition && !part.condition(*owner))) return {};
    slot.role = part.adds && !(owner->*part.adds) ? declare::Role::writes : part.role;
    slot.isTransient = part.isTransient;
    slot.over = part.over;
    const int64_t extent = part.extent(*owner, outer);
    if constexpr (std::is_same_v<T, Activations>) {
      return activations(operand, extent, part.isOther, &slot, &(owner->*part.member));
    } else {
      return tensor(operand, elementTypeOf<std::remove_pointer_t<T>>(), extent, sizeof(*T{}), &slot);
    }
  }

  Status tensor(const Operand* operand, ElementType type, int64_t extent, size_t elementBytes, Slot* slot) const {
    const auto* view = operand ? std::get_if<TensorView>(&operand->value) : nullptr;
    if (!view) return refuse("Expected " + slot->name + " to be a tensor, got " + kindOf(operand));
    if (view->type != type) {
      return refuse("Expected " + slot->name + " to be a tensor of " + nameOf(type) + ", got one of " +
                    nameOf(view->type));
    }
    HEBB_RETURN_IF_ERROR(onDevice(view->buffer->device(), slot->name));
    slot->unit = Slot::Unit::elements;
    slot->buffer = view->buffer;
    slot->first = view->first;
    slot->count = view->count;
    slot->size = static_cast<int32_t>(bytesOf(type));
    return holds(*slot, extent, elementBytes);
  }

  Status activations(const Operand* operand, int64_t features, bool isOther, Slot* slot, Activations* out) {
    const auto* view = operand ? std::get_if<ActivationsView>(&operand->value) : nullptr;
    const std::string& name = slot->name;
    if (!view) return refuse("Expected " + name + " to be activations, got " + kindOf(operand));
    HEBB_RETURN_IF_ERROR(onDevice(view->buffer->device(), name));
    const auto text = [](int64_t n) { return std::to_string(n); };
    if (features > 0 && view->features != features)
      return refuse("Expected " + name + " to have " + text(features) + " features, got " + text(view->features));
    Along& along = along_[isOther];
    const std::shared_ptr<Buffer>& axis = out_.axes[isOther];
    if (view->buffer->isValue() && along.isKnown && view->buffer->axis() != axis)
      return refuse("Expected " + name + " to have the columns of the others, got those of another axis");
    if (!axis && view->capacity < around_.batch) {
      return refuse("Expected " + name + " to have room for the program's batch of " + text(around_.batch) +
                    " columns, got " + text(view->capacity));
    }
    if (along.columns > 0 && view->capacity != along.columns) {
      return refuse("Expected " + name + " to have the batch capacity of the others, " + text(along.columns) +
                    ", got " + text(view->capacity));
    }
    along.columns = view->capacity;
    HEBB_RETURN_IF_ERROR(shapeOf(*view, *around_.device, name, out));
    slot->unit = Slot::Unit::features;
    slot->isTransient = view->buffer->isValue();  // what has memory of its own outlives the step
    slot->buffer = view->buffer;
    slot->first = view->first;
    slot->count = view->features;
    return {};
  }

 public:
  static Status holds(const Slot& slot, int64_t extent, size_t elementBytes) {
    const int64_t bytes = static_cast<int64_t>(slot.buffer->bytes());
    const int64_t held = slot.count < 0 ? bytes - slot.first * slot.size
                                        : std::min(bytes - slot.first * slot.size, slot.count * slot.size);
    const auto element = static_cast<int64_t>(elementBytes);
    if (slot.first >= 0 && held >= extent * element) return {};
    return refuse("Expected " + slot.name + " to hold at least " + std::to_string(extent) + " elements, got " +
                  std::to_string(std::max<int64_t>(0, held) / element));
  }

 private:
  template <class Owner, class T>
  Status read(const declare::AxisOperand<Owner, T>& part, std::type_identity_t<Owner>* owner, const Operands& given,
              const std::string& prefix, int64_t) {
    const Operand* operand = given.find(part.name);
    Slot& slot = add(prefix + part.name);
    if (!operand && part.isOptional) return {};
    slot.role = part.role;
    slot.isTransient = true;
    return axis(operand, &slot, &(owner->*part.columns));
  }

  Status axis(const Operand* operand, Slot* slot, int32_t* columns) const {
    const auto* view = operand ? std::get_if<TensorView>(&operand->value) : nullptr;
    const auto found = std::find_if(around_.axes->begin(), around_.axes->end(), [&](const ColumnAxis& one) {
      return view && one.memory == view->buffer && !one.isPart;
    });
    if (found == around_.axes->end()) {
      return refuse("Expected " + slot->name + " to be an axis of the program's own, made by axis(), got " +
                    (view ? "another one" : kindOf(operand)));
    }
    slot->unit = Slot::Unit::elements;
    slot->buffer = found->memory;
    slot->size = 1;
    *columns = found->columns;
    return {};
  }

  template <class Owner>
  Status read(const declare::Scalar<Owner>& part, std::type_identity_t<Owner>*, const Operands& given,
              const std::string& prefix, int64_t) {
    return scalar(given.find(part.name), part.isOptional, &add(prefix + part.name));
  }

  Status scalar(const Operand* operand, bool isOptional, Slot* slot) const {
    if (!operand && isOptional) return {};
    int32_t index = 0;
    HEBB_RETURN_IF_ERROR(number(operand, slot->name, 0, declare::kLargestInt32, &index));
    if (index >= around_.scalarCount) {
      return refuse("Expected " + slot->name + " to be one of the program's " + std::to_string(around_.scalarCount) +
                    " scalars, got " + std::to_string(index));
    }
    slot->unit = Slot::Unit::elements;
    slot->buffer = around_.scalars;
    slot->first = index;
    slot->count = 1;
    slot->size = sizeof(double);
    return {};
  }

  template <class Owner, class T>
  Status read(const declare::Given<Owner, T>&, std::type_identity_t<Owner>*, const Operands&, const std::string& prefix,
              int64_t) {
    Slot& slot = add(prefix + "state");
    slot.unit = Slot::Unit::elements;
    slot.buffer = around_.state;
    slot.first = std::is_same_v<T, const int64_t*> ? static_cast<int64_t>(offsetof(StepState, step)) : 0;
    slot.size = 1;
    return {};
  }

  template <class Owner, class T>
  Status read(const declare::Number<Owner, T>& part, std::type_identity_t<Owner>* owner, const Operands& given,
              const std::string& prefix, int64_t) {
    const Operand* operand = given.find(part.name);
    if (!operand && part.isOptional) return {};
    return number(operand, prefix + part.name, part.least, part.most, &(owner->*part.member));
  }

  template <class Owner>
  Status read(const declare::Flag<Owner>& part, std::type_identity_t<Owner>* owner, const Operands& given,
              const std::string& prefix, int64_t) {
    bool& flag = owner->*part.member;
    flag = part.otherwise ? owner->*part.otherwise : false;
    return Reader::flag(given.find(part.name), prefix + part.name, &flag);
  }

  static Status flag(const Operand* operand, const std::string& name, bool* out) {
    if (!operand) return {};
    const auto* flag = std::get_if<bool>(&operand->value);
    if (!flag) return refuse("Expected " + name + " to be true or false, got " + kindOf(operand));
    *out = *flag;
    return {};
  }

  template <class Owner, class E>
  Status read(const declare::Choice<Owner, E>& part, std::type_identity_t<Owner>* owner, const Operands& given,
              const std::string& prefix, int64_t) {
    const Operand* operand = given.find(part.name);
    if (!operand && part.isOptional) return {};
    const auto* name = operand ? std::get_if<std::string>(&operand->value) : nullptr;
    return choose(name ? *name : "", prefix + part.name, kindOf(operand), &(owner->*part.member));
  }

  template <class Owner, class T>
  Status read(const declare::Group<Owner, T>& part, std::type_identity_t<Owner>* owner, const Operands& given,
              const std::string& prefix, int64_t outer) {
    const int64_t extent = part.extent(*owner, outer);
    if (!part.name) return parts(&(owner->*part.member), given, prefix, extent);
    const std::string path = pathOf(prefix, part.name);
    const Operand* operand = part.isInternal ? nullptr : given.find(part.name);
    if (!operand && part.isOptional) {
      absent<T>(path);
      return {};
    }
    const auto* inner = operand ? std::get_if<Operands>(&operand->value) : nullptr;
    if (!inner) return refuse("Expected " + prefix + part.name + " to be an object, got " + kindOf(operand));
    return group(&(owner->*part.member), *inner, path, extent);
  }

  template <class Owner, class T>
  Status read(const declare::List<Owner, T>& part, std::type_identity_t<Owner>* owner, const Operands& given,
              const std::string& prefix, int64_t outer) {
    const Operand* operand = given.find(part.name);
    const auto* items = operand ? std::get_if<OperandList>(&operand->value) : nullptr;
    if (!items) return refuse("Expected " + prefix + part.name + " to be an array, got " + kindOf(operand));
    const int64_t extent = part.extent(*owner, outer);
    auto& list = owner->*part.member;
    for (size_t i = 0; i < items->size(); ++i) {
      const std::string name = prefix + part.name + "." + std::to_string(i);
      list.emplace_back();
      if constexpr (Declared<T>) {
        const auto* inner = std::get_if<Operands>(&(*items)[i].value);
        if (!inner) return refuse("Expected " + name + " to be an object, got " + kindOf(&(*items)[i]));
        HEBB_RETURN_IF_ERROR((group<T>(&list.back(), *inner, name + ".", extent)));
      } else {
        HEBB_RETURN_IF_ERROR((array<T>((*items)[i], name, extent)));
      }
    }
    return {};
  }

  /// An array of a list: all of them are updated.
  template <class T>
  Status array(const Operand& operand, const std::string& name, int64_t extent) {
    Slot& slot = add(name);
    slot.role = declare::Role::updates;
    return tensor(&operand, elementTypeOf<std::remove_pointer_t<T>>(), extent, sizeof(*T{}), &slot);
  }

  static Status read(const declare::OneOf& part, void*, const Operands& given, const std::string&, int64_t) {
    const bool first = given.find(part.first), second = given.find(part.second);
    if (first != second) return {};
    return refuse(std::string("Expected either ") + part.first + " or " + part.second + ", got " +
                  (first ? "both" : "none of them"));
  }

  static Status read(const declare::Together& part, void*, const Operands& given, const std::string&, int64_t) {
    const bool first = given.find(part.first), second = given.find(part.second);
    if (first == second) return {};
    return refuse(std::string("Expected ") + part.first + " and " + part.second + ", or none of them, got " +
                  (first ? part.first : part.second) + " alone");
  }

  /// Memory that is written must not be that of another operand, but where an element is written after it was read.
  Status apart() const {
    const std::vector<Slot>& slots = out_.slots;
    const auto mayBe = [](const Slot& written, const Slot& other) {
      return std::any_of(written.over.begin(), written.over.end(),
                         [&](const char* name) { return name && other.name == name; });
    };
    for (size_t i = 0; i < slots.size(); ++i) {
      for (size_t j = 0; j < slots.size(); ++j) {
        if (i == j || !slots[i].writes() || (slots[j].writes() && j < i) || !overlap(slots[i], slots[j])) continue;
        if (slots[i].unit == Slot::Unit::links && slots[j].unit == Slot::Unit::links) continue;
        const bool same = slots[i].first == slots[j].first && slots[i].count == slots[j].count;
        if (same && (mayBe(slots[i], slots[j]) || mayBe(slots[j], slots[i]))) continue;
        return refuse("Expected " + slots[i].name + " and " + slots[j].name + " to be different memory, got " +
                      (same ? "the same for both" : "memory that they share"));
      }
    }
    return {};
  }

  const Surroundings& around_;
  Recorded& out_;
  /// Of each axis.
  struct Along {
    bool isKnown = false;  // a value among the operands says which axis it is
    int32_t columns = 0;   // capacity of the activations read so far
  };
  std::array<Along, 2> along_;
};

/// Gives operations the addresses that their slots have now, along the walk that has filled the slots.
class Binder {
 public:
  Binder(const Recorded& recorded, const Surroundings& surroundings) : slots_(recorded.slots), around_(surroundings) {
    for (size_t i = 0; i < axes_.size(); ++i) {
      const std::shared_ptr<Buffer>& axis = recorded.axes[i];
      axes_[i] = axis ? axis->data<Axis>() : &surroundings.state->data<StepState>()->axis;
    }
  }

  template <class Owner>
  Status group(Owner* owner, int64_t outer) {
    return forEachPartUntilError<Owner>([&](const auto& part) { return bind(part, owner, outer); });
  }

 private:
  template <class Owner>
  Status bind(const declare::Links<Owner>& part, std::type_identity_t<Owner>* owner, int64_t) {
    if (const Slot& slot = next()) owner->*part.member = slot.links->csr();
    return {};
  }

  template <class Owner>
  Status bind(const declare::Elements<Owner>& part, std::type_identity_t<Owner>* owner, int64_t) {
    const Slot& slot = next();
    if (!slot) return {};
    const Csr& csr = slot.links->csr();
    owner->*part.capacity = csr.capacity;
    owner->*part.used = csr.rowOffsets + csr.rows;
    return {};
  }

  template <class Owner, class T>
  Status bind(const declare::Memory<Owner, T>& part, std::type_identity_t<Owner>* owner, int64_t outer) {
    const Slot& slot = next();
    if (!slot) return {};
    if (slot.buffer->isValue() && !slot.buffer->data()) HEBB_RETURN_IF_ERROR(slot.buffer->open());
    if constexpr (std::is_same_v<T, Activations>) {
      Activations& a = owner->*part.member;
      a.data = reinterpret_cast<float*>(slot.buffer->data<char>() + slot.first * a.panel * bytesOf(a.format));
      a.axis = axes_[part.isOther];
      return {};
    } else {
      owner->*part.member = reinterpret_cast<T>(slot.buffer->data<char>() + slot.first * slot.size);
      return Reader::holds(slot, part.extent(*owner, outer), sizeof(std::remove_pointer_t<T>));
    }
  }

  template <class Owner, class T>
  Status bind(const declare::AxisOperand<Owner, T>& part, std::type_identity_t<Owner>* owner, int64_t) {
    if (const Slot& slot = next()) owner->*part.member = slot.buffer->data<Axis>();
    return {};
  }

  template <class Owner>
  Status bind(const declare::Scalar<Owner>& part, std::type_identity_t<Owner>* owner, int64_t) {
    if (const Slot& slot = next()) owner->*part.member = slot.buffer->data<double>() + slot.first;
    return {};
  }

  template <class Owner, class T>
  Status bind(const declare::Given<Owner, T>& part, std::type_identity_t<Owner>* owner, int64_t) {
    if (const Slot& slot = next()) owner->*part.member = reinterpret_cast<T>(slot.buffer->data<char>() + slot.first);
    return {};
  }

  template <class Owner, class T>
  Status bind(const declare::Group<Owner, T>& part, std::type_identity_t<Owner>* owner, int64_t outer) {
    return group(&(owner->*part.member), part.extent(*owner, outer));
  }

  template <class Owner, class T>
  Status bind(const declare::List<Owner, T>& part, std::type_identity_t<Owner>* owner, int64_t outer) {
    const int64_t extent = part.extent(*owner, outer);
    for (T& item : owner->*part.member) {
      if constexpr (Declared<T>) {
        HEBB_RETURN_IF_ERROR(group(&item, extent));
      } else {
        const Slot& slot = next();
        item = slot.buffer->data<std::remove_pointer_t<T>>() + slot.first;
        HEBB_RETURN_IF_ERROR(Reader::holds(slot, extent, sizeof(*item)));
      }
    }
    return {};
  }

  template <class Part>
  Status bind(const Part&, const void*, int64_t) {
    return {};  // nothing in memory
  }

  const Slot& next() { return slots_[at_++]; }

  const std::vector<Slot>& slots_;
  const Surroundings& around_;
  std::array<const Axis*, 2> axes_{};
  size_t at_ = 0;
};

Status named(const std::string& operation, Status status) {
  return status.ok() ? status : Status{status.code(), operation + ": " + status.message()};
}

}  // namespace

bool overlap(const Slot& a, const Slot& b) {
  if (!a || !b) return false;
  if (a.unit == Slot::Unit::links || b.unit == Slot::Unit::links) return a.unit == b.unit && a.links == b.links;
  if (a.buffer != b.buffer) return false;
  if (a.unit != b.unit || a.size != b.size) return true;  // nobody reads one buffer in two ways: assume the worst
  const auto end = [](const Slot& slot) { return slot.count < 0 ? INT64_MAX : slot.first + slot.count; };
  return a.first < end(b) && b.first < end(a);
}

Slot* Recorded::find(const std::string& name) {
  const auto found = std::find_if(slots.begin(), slots.end(), [&](const Slot& slot) { return slot.name == name; });
  return found == slots.end() ? nullptr : &*found;
}

bool Recorded::touches(const Slot& slot) const {
  return std::any_of(slots.begin(), slots.end(), [&](const Slot& mine) { return overlap(mine, slot); });
}

bool Recorded::writes() const {
  return std::any_of(slots.begin(), slots.end(), [](const Slot& slot) { return slot && slot.writes(); });
}

bool Recorded::updatesLinks(const SparseMatrix* links) const {
  return std::any_of(slots.begin(), slots.end(), [&](const Slot& slot) {
    return slot.unit == Slot::Unit::links && slot.links.get() == links && slot.writes();
  });
}

bool Recorded::lasts() const {
  return std::any_of(slots.begin(), slots.end(),
                     [](const Slot& slot) { return slot && slot.writes() && !slot.isTransient; });
}

Status readOperands(const std::string& operation, const Operands& operands, const Surroundings& surroundings,
                    Recorded* out) {
  *out = {};
  Status status = refuse("Expected the name of an operation, got '" + operation + "'");
  const auto readAs = [&]<class Op>(std::type_identity<Op>) {
    if constexpr (Declared<Op>) status = named(operation, Reader(surroundings, out).operation<Op>(operands));
  };
#define HEBB_READ(Type, name) \
  if (operation == #name) readAs(std::type_identity<Type>());
  HEBB_OPERATIONS(HEBB_READ)
#undef HEBB_READ
  return status;
}

Status resolve(const Recorded& recorded, const Surroundings& surroundings, Operation* out) {
  *out = recorded.operation;
  const Status status = std::visit(
      [&](auto& op) -> Status {
        using Op = std::decay_t<decltype(op)>;
        if constexpr (Declared<Op>)
          return Binder(recorded, surroundings).group(&op, surroundings.columnsOf(recorded.axes[0]));
        return {};
      },
      *out);
  return named(nameOf(*out), status);
}

}  // namespace hebb
