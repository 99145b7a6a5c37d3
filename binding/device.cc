#include "addon.h"

namespace hebb::binding {

Napi::Function DeviceHandle::define(Napi::Env env) {
  return DefineClass(
      env, "Device",
      {InstanceAccessor<&DeviceHandle::info>("info"), InstanceMethod<&DeviceHandle::memory>("memory"),
       InstanceMethod<&DeviceHandle::allocate>("allocate"),
       InstanceMethod<&DeviceHandle::activationBytes>("activationBytes"),
       InstanceMethod<&DeviceHandle::predictionRoute>("predictionRoute"),
       InstanceMethod<&DeviceHandle::sparse>("sparse"), InstanceMethod<&DeviceHandle::program>("program"),
       InstanceMethod<&DeviceHandle::readActivations>("readActivations"),
       InstanceMethod<&DeviceHandle::writeActivations>("writeActivations"),
       InstanceMethod<&DeviceHandle::dispose>("dispose")});
}

// new Device(kind, { threads, simd, denseFrom }), or { index, blas, deterministic } of a GPU
DeviceHandle::DeviceHandle(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  const Napi::Env env = info.Env();
  const std::string kind = info[0].IsString() ? info[0].As<Napi::String>().Utf8Value() : "";
  const Napi::Object given = info[1].IsObject() ? info[1].As<Napi::Object>() : Napi::Object::New(env);
  if (kind == "cuda") {
    const Napi::Value blas = given.Get("blas");
    const bool cublas = blas.IsString() && blas.As<Napi::String>().Utf8Value() == "cublas";
    const auto deterministic = choiceOf<Deterministic>(given.Get("deterministic"), "deterministic");
    check(env, Device::openCuda(int32Of(given.Get("index"), "index", 0), &native_, cublas ? Blas::cublas : Blas::own,
                                deterministic));
  } else {
    CpuOptions options;
    options.threads = int32Of(given.Get("threads"), "threads", 0);
    if (const Napi::Value simd = given.Get("simd"); simd.IsString()) options.simd = simd.As<Napi::String>().Utf8Value();
    if (const Napi::Value from = given.Get("denseFrom"); from.IsNumber())
      options.denseFrom = from.As<Napi::Number>().DoubleValue();
    check(env, Device::openCpu(options, &native_));
  }
  Addon::of(env).watch(native_);
}

Napi::Value DeviceHandle::info(const Napi::CallbackInfo& info) {
  const DeviceInfo& device = get(info.Env(), "device")->info();
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("kind", device.kind);
  result.Set("name", device.name);
  result.Set("simd", device.simd);
  result.Set("threads", device.threads);
  result.Set("denseFrom", device.denseFrom);
  result.Set("memoryBytes", static_cast<double>(device.memoryBytes));
  result.Set("blas", device.blas);
  result.Set("deterministic", device.deterministic);
  result.Set("detail", device.detail);
  return result;
}

Napi::Value DeviceHandle::memory(const Napi::CallbackInfo& info) {
  const MemoryUse use = get(info.Env(), "device")->backend().memory();
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("buffers", static_cast<double>(use.buffers));
  result.Set("bytes", static_cast<double>(use.bytes));
  result.Set("peakBytes", static_cast<double>(use.peakBytes));
  return result;
}

// allocate(type, bytes, data?): zeroed, or filled with the typed array's bytes.
Napi::Value DeviceHandle::allocate(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto& device = get(env, "device");
  const ElementType type = choiceOf<ElementType>(info[0], "the type");
  const int64_t bytes = integerOf(info[1], "bytes", 0);
  const bool filled = info[2].IsTypedArray();
  const Bytes data = filled ? bytesOf(info[2].As<Napi::TypedArray>()) : Bytes{nullptr, 0};
  if (filled && static_cast<int64_t>(data.length) != bytes)
    fail(env, "Expected " + std::to_string(bytes) + " bytes, got an array of " + std::to_string(data.length));
  std::shared_ptr<Buffer> buffer;
  check(env, device->allocate(static_cast<size_t>(bytes), &buffer));
  if (filled) check(env, device->backend().write(buffer->data(), data.data, data.length));
  return BufferHandle::wrap(env, std::move(buffer), type);
}

// activationBytes(features, capacity): bytes of a buffer that holds such activations.
Napi::Value DeviceHandle::activationBytes(const Napi::CallbackInfo& info) {
  const int32_t features = int32Of(info[0], "features", 1), capacity = int32Of(info[1], "capacity", 1);
  const int64_t bytes = get(info.Env(), "device")->backend().activationBytes(features, capacity);
  return Napi::Number::New(info.Env(), static_cast<double>(bytes));
}

// predictionRoute(rows, cols, links, predictor)
Napi::Value DeviceHandle::predictionRoute(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const LinkPredictor predictor = choiceOf<LinkPredictor>(info[3], "the link predictor");
  const PredictionRoute route = get(env, "device")
                                    ->backend()
                                    .predictionRoute(int32Of(info[0], "rows", 1), int32Of(info[1], "cols", 1),
                                                     integerOf(info[2], "links", 0), predictor);
  for (const auto& [name, value] : namesOf(route)) {
    if (value == route) return Napi::String::New(env, name);
  }
  return env.Undefined();
}

// sparse(rows, cols, capacity, rowOffsets, columnIndices)
Napi::Value DeviceHandle::sparse(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Int32Array offsets = int32ArrayOf(info[3], "rowOffsets"),
                         indices = int32ArrayOf(info[4], "columnIndices");
  std::shared_ptr<SparseMatrix> matrix;
  check(env, SparseMatrix::create(get(env, "device"), int32Of(info[0], "rows", 1), int32Of(info[1], "cols", 1),
                                  int32Of(info[2], "capacity", 0), offsets.Data(), offsets.ElementLength(),
                                  indices.Data(), indices.ElementLength(), &matrix));
  return MatrixHandle::wrap(env, std::move(matrix));
}

// program(scalars, batch, workspace?): values lie in the workspace, a buffer.
Napi::Value DeviceHandle::program(const Napi::CallbackInfo& info) {
  std::shared_ptr<Program> program;
  std::shared_ptr<Buffer> workspace;
  if (!info[2].IsUndefined()) {
    workspace =
        unwrap<BufferHandle>(info[2], Addon::of(info.Env()).bufferClass, "workspace")->get(info.Env(), "workspace");
  }
  check(info.Env(), Program::create(get(info.Env(), "device"), int32Of(info[0], "scalars", 1),
                                    int32Of(info[1], "batch", 1), &program, std::move(workspace)));
  return ProgramHandle::wrap(info.Env(), std::move(program));
}

// readActivations(activations, out, columns): out is [columns][features].
Napi::Value DeviceHandle::readActivations(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Device>& device = get(info.Env(), "device");
  Reading reading = readingOf(device, info[0], info[1], info[2]);
  return Addon::of(info.Env()).promise(device, std::move(reading.run), std::move(reading.result));
}

// writeActivations(activations, data, columns): data is [columns][features] and is copied at once.
Napi::Value DeviceHandle::writeActivations(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Device>& device = get(info.Env(), "device");
  return Addon::of(info.Env()).promise(device, writingOf(device, info[0], info[1], info[2]));
}

// dispose(): stops what runs and ends the device's thread. Its buffers go when their own handles do.
Napi::Value DeviceHandle::dispose(const Napi::CallbackInfo& info) {
  if (native_) native_->close();
  native_.reset();
  return info.Env().Undefined();
}

}  // namespace hebb::binding
