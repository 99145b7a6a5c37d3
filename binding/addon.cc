#include "addon.h"

#include <cmath>
#include <sstream>

namespace hebb::binding {

struct Addon::Completion {
  Napi::Promise::Deferred deferred;
  std::function<Status()> run;  // kept so that what it holds is released here
  std::function<Napi::Value(Napi::Env)> result;
  Status status;
};

Addon::Addon(Napi::Env env) {
  settler_ = Settler::New(env, "hebb", 0, 1);
  settler_.Unref(env);
  // Registered after the settler, hence run before its own clean-up: no job settles a promise of an environment that is
  // gone.
  env.AddCleanupHook([](Addon* addon) { addon->closeDevices(); }, this);
}

Addon::~Addon() { closeDevices(); }

void Addon::closeDevices() {
  for (const auto& weak : devices_) {
    if (const auto device = weak.lock()) device->close();
  }
  devices_.clear();
}

Napi::Value Addon::promise(const std::shared_ptr<Device>& device, std::function<Status()> run,
                           std::function<Napi::Value(Napi::Env)> result) {
  const Napi::Env env = errorClass.Env();
  auto* completion = new Completion{Napi::Promise::Deferred::New(env), std::move(run), std::move(result), {}};
  const Napi::Value promise = completion->deferred.Promise();
  if (pending_++ == 0) settler_.Ref(env);
  device->enqueue({[completion] { return completion->run(); },
                   [completion, settler = settler_](const Status& status) {
                     completion->status = status;
                     settler.NonBlockingCall(completion);
                   }});
  return promise;
}

void Addon::settle(Napi::Env env, Napi::Function, std::nullptr_t*, Completion* raw) {
  const std::unique_ptr<Completion> completion(raw);
  if (static_cast<napi_env>(env) == nullptr) return;
  Addon& addon = Addon::of(env);
  Napi::HandleScope scope(env);
  if (--addon.pending_ == 0) addon.settler_.Unref(env);
  try {
    if (completion->status.ok())
      completion->deferred.Resolve(completion->result ? completion->result(env) : env.Undefined());
    else completion->deferred.Reject(errorOf(env, completion->status).Value());
  } catch (const Napi::Error& error) {
    completion->deferred.Reject(error.Value());
  }
}

Status Addon::immediate(std::shared_ptr<Device>* out) {
  if (!immediate_) {
    HEBB_RETURN_IF_ERROR(Device::openCpu({}, &immediate_));
    watch(immediate_);
  }
  *out = immediate_;
  return {};
}

Napi::Error errorOf(Napi::Env env, const Status& status) {
  static constexpr const char* names[] = {"OK",       "INVALID_ARGUMENT",   "OUT_OF_MEMORY", "ABORTED", "NON_FINITE",
                                          "DISPOSED", "DEVICE_UNAVAILABLE", "UNSUPPORTED",   "INTERNAL"};
  const Napi::FunctionReference& errorClass = Addon::of(env).errorClass;
  const Napi::Object error = errorClass.New(
      {Napi::String::New(env, names[static_cast<int>(status.code())]), Napi::String::New(env, status.message())});
  return Napi::Error(env, error);
}

void check(Napi::Env env, const Status& status) {
  if (!status.ok()) throw errorOf(env, status);
}

void fail(Napi::Env env, const std::string& message) { throw errorOf(env, {Code::invalidArgument, message}); }

double numberOf(Napi::Value value, const char* what, double least, double most) {
  if (!value.IsNumber()) fail(value.Env(), std::string("Expected ") + what + " to be a number");
  const double number = value.As<Napi::Number>().DoubleValue();
  if (!(number >= least && number <= most)) {
    std::ostringstream message;
    message << "Expected " << what << " to be between " << least << " and " << most << ", got " << number;
    fail(value.Env(), message.str());
  }
  return number;
}

int64_t integerOf(Napi::Value value, const char* what, int64_t least, int64_t most) {
  const double number = numberOf(value, what, static_cast<double>(least), static_cast<double>(most));
  if (number != std::floor(number))
    fail(value.Env(), std::string("Expected ") + what + " to be an integer, got " + std::to_string(number));
  return static_cast<int64_t>(number);
}

Napi::Int32Array int32ArrayOf(Napi::Value value, const char* what) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array)
    fail(value.Env(), std::string("Expected ") + what + " to be an Int32Array");
  return value.As<Napi::Int32Array>();
}

Napi::Float32Array float32ArrayOf(Napi::Value value, const char* what) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float32_array)
    fail(value.Env(), std::string("Expected ") + what + " to be a Float32Array");
  return value.As<Napi::Float32Array>();
}

Bytes bytesOf(Napi::TypedArray array) {
  void* data = nullptr;
  const napi_status status = napi_get_typedarray_info(array.Env(), array, nullptr, nullptr, &data, nullptr, nullptr);
  return status == napi_ok && data ? Bytes{static_cast<uint8_t*>(data), array.ByteLength()} : Bytes{nullptr, 0};
}

namespace {

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Addon(env));
  Addon& addon = Addon::of(env);
  const auto define = [&](const char* name, Napi::FunctionReference& reference, Napi::Function constructor) {
    reference = Napi::Persistent(constructor);
    exports.Set(name, constructor);
  };
  define("Device", addon.deviceClass, DeviceHandle::define(env));
  define("Buffer", addon.bufferClass, BufferHandle::define(env));
  define("SparseMatrix", addon.matrixClass, MatrixHandle::define(env));
  define("Program", addon.programClass, ProgramHandle::define(env));
  defineFunctions(env, exports);
  defineNetworks(env, exports);
  return exports;
}

}  // namespace
}  // namespace hebb::binding

static Napi::Object hebbInitialize(Napi::Env env, Napi::Object exports) {
  return hebb::binding::initialize(env, exports);
}
NODE_API_MODULE(hebb, hebbInitialize)
