// What is copied between JavaScript and a device: into tensors as bytes, into activations by columns. Checked and
// staged at once, and done on the device's thread, by itself or with the steps that it belongs to.
#include <cstring>

#include "addon.h"

namespace hebb::binding {
namespace {

/// Checks that `array` fits into the buffer at byte offset `offset`.
size_t rangeOf(Napi::Value value, Napi::Value offset, size_t bytes, size_t* at) {
  if (!value.IsTypedArray()) fail(value.Env(), "Expected a typed array");
  const size_t length = value.As<Napi::TypedArray>().ByteLength();
  *at = offset.IsUndefined() ? 0 : static_cast<size_t>(integerOf(offset, "offset", 0));
  if (*at > bytes || length > bytes - *at) {
    fail(value.Env(), "Expected " + std::to_string(length) + " bytes at " + std::to_string(*at) +
                          " to lie inside a buffer of " + std::to_string(bytes));
  }
  return length;
}

bool isBuffer(Napi::Value value) {
  return value.IsObject() && value.As<Napi::Object>().InstanceOf(Addon::of(value.Env()).bufferClass.Value());
}

void onDevice(Napi::Env env, const std::shared_ptr<Device>& device, const Buffer& buffer) {
  if (buffer.device() != device) fail(env, "Expected memory on this device");
}

/// Columns of activations, and the array that holds them, as [columns][features].
struct Columns {
  ActivationsView view;
  Activations shape;
  Napi::Float32Array array;
  int32_t count;

  size_t numbers() const { return static_cast<size_t>(count) * static_cast<size_t>(shape.features); }
  /// At the address that the buffer has now: on the device's thread.
  static Activations at(Activations shape, const ActivationsView& view) {
    shape.data = view.buffer->data<float>() + int64_t{view.first} * shape.panel;
    return shape;
  }
};

Columns columnsOf(const std::shared_ptr<Device>& device, Napi::Value activations, Napi::Value array,
                  Napi::Value columns) {
  const Napi::Env env = activations.Env();
  const ActivationsView view = activationsOf(activations, "activations");
  onDevice(env, device, *view.buffer);
  Activations shape;
  check(env, shapeOf(view, *view.buffer->device(), "activations", &shape));
  const Columns all{view, shape, float32ArrayOf(array, "the array"), int32Of(columns, "columns", 0)};
  if (all.count > shape.capacity || all.array.ElementLength() < all.numbers()) {
    fail(env, "Expected " + std::to_string(all.count) + " columns of " + std::to_string(shape.features) +
                  " features, got " + std::to_string(all.array.ElementLength()) + " numbers");
  }
  return all;
}

}  // namespace

Status holds(const Buffer& buffer, size_t bytes) {
  HEBB_RETURN_IF_ERROR(buffer.open());
  if (bytes <= buffer.bytes()) return {};
  return {Code::invalidArgument, "Expected a buffer of at least " + std::to_string(bytes) +
                                     " bytes, got one that was resized to " + std::to_string(buffer.bytes())};
}

std::function<Status()> writingOf(const std::shared_ptr<Device>& device, Napi::Value target, Napi::Value data,
                                  Napi::Value place) {
  const Napi::Env env = target.Env();
  if (isBuffer(target)) {
    const std::shared_ptr<Buffer> buffer = BufferHandle::Unwrap(target.As<Napi::Object>())->get(env, "buffer");
    onDevice(env, device, *buffer);
    size_t at = 0;
    const size_t length = rangeOf(data, place, buffer->bytes(), &at);
    const Bytes from = bytesOf(data.As<Napi::TypedArray>());
    return [=, staging = std::vector<uint8_t>(from.data, from.data + length)]() -> Status {
      HEBB_RETURN_IF_ERROR(holds(*buffer, at + length));
      return buffer->device()->backend().write(buffer->data<uint8_t>() + at, staging.data(), length);
    };
  }
  const Columns all = columnsOf(device, target, data, place);
  return [view = all.view, shape = all.shape, count = all.count,
          staging = std::vector<float>(all.array.Data(), all.array.Data() + all.numbers())]() -> Status {
    HEBB_RETURN_IF_ERROR(view.buffer->open());
    return view.buffer->device()->backend().writeActivations(Columns::at(shape, view), staging.data(), count);
  };
}

Reading readingOf(const std::shared_ptr<Device>& device, Napi::Value source, Napi::Value out, Napi::Value place) {
  const Napi::Env env = source.Env();
  auto staging = std::make_shared<std::vector<uint8_t>>();
  std::function<Status()> run;
  if (isBuffer(source)) {
    const std::shared_ptr<Buffer> buffer = BufferHandle::Unwrap(source.As<Napi::Object>())->get(env, "buffer");
    onDevice(env, device, *buffer);
    size_t at = 0;
    const size_t length = rangeOf(out, place, buffer->bytes(), &at);
    run = [=]() -> Status {
      HEBB_RETURN_IF_ERROR(holds(*buffer, at + length));
      staging->resize(length);
      return buffer->device()->backend().read(staging->data(), buffer->data<uint8_t>() + at, length);
    };
  } else {
    const Columns all = columnsOf(device, source, out, place);
    run = [staging, view = all.view, shape = all.shape, count = all.count, numbers = all.numbers()]() -> Status {
      HEBB_RETURN_IF_ERROR(view.buffer->open());
      staging->resize(numbers * sizeof(float));
      return view.buffer->device()->backend().readActivations(reinterpret_cast<float*>(staging->data()),
                                                              Columns::at(shape, view), count);
    };
  }
  auto keep = std::make_shared<Napi::Reference<Napi::TypedArray>>(
      Napi::Reference<Napi::TypedArray>::New(out.As<Napi::TypedArray>(), 1));
  return {std::move(run), [staging, keep](Napi::Env) -> Napi::Value {
            const Napi::TypedArray array = keep->Value();
            const Bytes to = bytesOf(array);
            // None when detached meanwhile.
            if (to.length >= staging->size() && !staging->empty())
              std::memcpy(to.data, staging->data(), staging->size());
            return array;
          }};
}

}  // namespace hebb::binding
