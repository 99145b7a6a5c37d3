#include "operands.h"

namespace hebb {

const char* nameOf(ElementType type) {
  for (const auto& [name, value] : namesOf(type)) {
    if (value == type) return name;
  }
  return "";
}

int64_t bytesOf(ElementType type) {
  switch (type) {
    case ElementType::float32: return 4;
    case ElementType::float64: return 8;
    case ElementType::int32: return 4;
    case ElementType::uint8: return 1;
    case ElementType::uint64: return 8;
  }
  return 1;
}

Status shapeOf(const ActivationsView& view, const Device& device, const std::string& name, Activations* out) {
  const auto text = [](int64_t n) { return std::to_string(n); };
  const int32_t rows = view.rows > 0 ? view.rows : view.features;
  if (view.features < 1 || view.first < 0 || view.first > rows - view.features) {
    return {Code::invalidArgument, "Expected " + name + " to be rows of the " + text(rows) + " in their buffer, got " +
                                       text(view.features) + " from row " + text(view.first) + " on"};
  }
  out->features = view.features;
  out->capacity = view.capacity;
  out->panel = device.backend().panel(view.capacity);
  out->pitch = rows;
  out->format = device.backend().format();
  if (static_cast<int64_t>(view.buffer->bytes()) >= device.backend().activationBytes(rows, view.capacity)) return {};
  return {Code::invalidArgument, "Expected " + name + " to have a buffer large enough for its shape"};
}

Status makeActivations(const std::shared_ptr<Device>& device, int32_t features, int32_t capacity,
                       ActivationsView* out) {
  *out = {nullptr, features, capacity};
  return device->allocate(static_cast<size_t>(device->backend().activationBytes(features, capacity)), &out->buffer);
}

Operands::Operands(std::initializer_list<NamedOperand> operands) : all_(operands) {}

void Operands::add(NamedOperand operand) { all_.push_back(std::move(operand)); }

Operands Operands::with(const Operands& others) const {
  Operands all = *this;
  all.all_.insert(all.all_.end(), others.all_.begin(), others.all_.end());
  return all;
}

const Operand* Operands::find(const std::string& name) const {
  for (const NamedOperand& one : all_) {
    if (one.name == name) return &one.operand;
  }
  return nullptr;
}

}  // namespace hebb
