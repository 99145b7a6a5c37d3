#include "addon.h"

namespace hebb::binding {

Napi::Function BufferHandle::define(Napi::Env env) {
  return DefineClass(
      env, "Buffer",
      {InstanceAccessor<&BufferHandle::bytes>("bytes"), InstanceMethod<&BufferHandle::read>("read"),
       InstanceMethod<&BufferHandle::write>("write"), InstanceMethod<&BufferHandle::copy>("copy"),
       InstanceMethod<&BufferHandle::resize>("resize"), InstanceMethod<&BufferHandle::dispose>("dispose")});
}

BufferHandle::BufferHandle(const Napi::CallbackInfo& info) : ObjectWrap(info) {}

Napi::Object BufferHandle::wrap(Napi::Env env, std::shared_ptr<Buffer> buffer, ElementType type) {
  const Napi::Object object = Addon::of(env).bufferClass.New({});
  BufferHandle* handle = Unwrap(object);
  handle->external_.hold(env, buffer->bytes());
  handle->type_ = type;
  handle->native_ = std::move(buffer);
  return object;
}

Napi::Value BufferHandle::bytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(get(info.Env(), "buffer")->bytes()));
}

// read(out, byteOffset): the promise resolves to `out`.
Napi::Value BufferHandle::read(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Device>& device = get(info.Env(), "buffer")->device();
  Reading reading = readingOf(device, info.This(), info[0], info[1]);
  return Addon::of(info.Env()).promise(device, std::move(reading.run), std::move(reading.result));
}

// write(data, byteOffset): the data is copied at once and written after the jobs before it.
Napi::Value BufferHandle::write(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Device>& device = get(info.Env(), "buffer")->device();
  return Addon::of(info.Env()).promise(device, writingOf(device, info.This(), info[0], info[1]));
}

// copy(from): the bytes of another buffer of the device, to the beginning of this one.
Napi::Value BufferHandle::copy(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::shared_ptr<Buffer> to = get(env, "buffer");
  const std::shared_ptr<Buffer> from =
      unwrap<BufferHandle>(info[0], Addon::of(env).bufferClass, "buffer")->get(env, "buffer");
  if (from->device() != to->device()) fail(env, "Expected a tensor on the same device");
  if (from == to || from->bytes() > to->bytes())
    fail(env, "Expected another tensor of at most " + std::to_string(to->bytes()) + " bytes, got one of " +
                  std::to_string(from->bytes()));
  return Addon::of(env).promise(to->device(), [=] {
    Status status = holds(*to, from->bytes());
    if (status.ok()) status = from->open();
    return status.ok() ? to->device()->backend().copy(to->data(), from->data(), from->bytes()) : status;
  });
}

// resize(bytes): moves to memory of another size, after the jobs before it. What was recorded with the buffer is bound
// again.
Napi::Value BufferHandle::resize(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::shared_ptr<Buffer> buffer = get(env, "buffer");
  const auto bytes = static_cast<size_t>(integerOf(info[0], "bytes", 0));
  const auto self = std::make_shared<Napi::ObjectReference>(Napi::Persistent(info.This().As<Napi::Object>()));
  return Addon::of(env).promise(
      buffer->device(), [=] { return buffer->resize(bytes); },
      [=](Napi::Env env) -> Napi::Value {
        BufferHandle* handle = Unwrap(self->Value());
        if (!handle->disposed()) {
          handle->external_.release(env);
          handle->external_.hold(env, bytes);
        }
        return env.Undefined();
      });
}

Napi::Value BufferHandle::dispose(const Napi::CallbackInfo& info) {
  external_.release(info.Env());
  native_.reset();
  return info.Env().Undefined();
}

}  // namespace hebb::binding
