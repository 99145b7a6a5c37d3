// What the binding's files share: the state of one Node environment, errors, promises, and the JavaScript handles of
// native objects.
// The binding converts and checks; it decides nothing.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <napi.h>

#include "device.h"
#include "hebb/host_csr.h"
#include "program.h"
#include "sparse_matrix.h"

namespace hebb::binding {

/// State of one environment (the main thread or a worker). No statics: environments come and go.
class Addon {
 public:
  explicit Addon(Napi::Env env);
  ~Addon();
  static Addon& of(Napi::Env env) { return *env.GetInstanceData<Addon>(); }

  /// A promise for a job on the device's thread. `run` must not touch JavaScript; `result` makes the value, on the
  /// JavaScript thread. What both hold is released on the JavaScript thread.
  Napi::Value promise(const std::shared_ptr<Device>& device, std::function<Status()> run,
                      std::function<Napi::Value(Napi::Env)> result = nullptr);

  /// A CPU device for the functions that answer at once. Never used by a job.
  Status immediate(std::shared_ptr<Device>* out);
  void watch(const std::shared_ptr<Device>& device) { devices_.push_back(device); }

  Napi::FunctionReference errorClass, deviceClass, bufferClass, matrixClass, programClass;

 private:
  struct Completion;
  static void settle(Napi::Env env, Napi::Function, std::nullptr_t*, Completion* completion);
  using Settler = Napi::TypedThreadSafeFunction<std::nullptr_t, Completion, &Addon::settle>;

  void closeDevices();

  Settler settler_;
  int64_t pending_ = 0;
  std::vector<std::weak_ptr<Device>> devices_;
  std::shared_ptr<Device> immediate_;
};

/// The JavaScript error for a status: an instance of the library's HebbError.
Napi::Error errorOf(Napi::Env env, const Status& status);
/// Throws unless ok.
void check(Napi::Env env, const Status& status);
[[noreturn]] void fail(Napi::Env env, const std::string& message);

// Arguments, checked. `what` names them in messages.
double numberOf(Napi::Value value, const char* what, double least, double most);
int64_t integerOf(Napi::Value value, const char* what, int64_t least, int64_t most = 9007199254740991);
inline int32_t int32Of(Napi::Value value, const char* what, int32_t least) {
  return static_cast<int32_t>(integerOf(value, what, least, 2147483647));
}
Napi::Int32Array int32ArrayOf(Napi::Value value, const char* what);
Napi::Float32Array float32ArrayOf(Napi::Value value, const char* what);
/// The bytes of a typed array, over an ArrayBuffer or a SharedArrayBuffer; none when it is detached.
struct Bytes {
  uint8_t* data;
  size_t length;
};
Bytes bytesOf(Napi::TypedArray array);

/// One of the enumeration's values, by its name.
template <class E>
E choiceOf(Napi::Value value, const char* what) {
  const std::string given = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
  E result{};
  check(value.Env(), choose(given, what, "'" + given + "'", &result));
  return result;
}

/// Native memory that a JavaScript handle keeps alive, told to V8, which otherwise sees a few bytes and is in no hurry
/// to collect it.
class ExternalMemory {
 public:
  void hold(Napi::BasicEnv env, size_t bytes) {
    bytes_ = static_cast<int64_t>(bytes);
    Napi::MemoryManagement::AdjustExternalMemory(env, bytes_);
  }
  void release(Napi::BasicEnv env) {
    if (bytes_) Napi::MemoryManagement::AdjustExternalMemory(env, -bytes_);
    bytes_ = 0;
  }

 private:
  int64_t bytes_ = 0;
};

/// A JavaScript handle: holds a native object until it is disposed or collected.
template <class Native>
class Handle {
 public:
  const std::shared_ptr<Native>& get(Napi::Env env, const char* what) const {
    if (!native_)
      check(env, {Code::disposed, std::string("Expected a ") + what + " that is in use, got one that was disposed"});
    return native_;
  }
  bool disposed() const { return !native_; }

 protected:
  std::shared_ptr<Native> native_;
};

class DeviceHandle : public Napi::ObjectWrap<DeviceHandle>, public Handle<Device> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit DeviceHandle(const Napi::CallbackInfo& info);

 private:
  Napi::Value info(const Napi::CallbackInfo& info);
  Napi::Value memory(const Napi::CallbackInfo& info);
  Napi::Value allocate(const Napi::CallbackInfo& info);
  Napi::Value activationBytes(const Napi::CallbackInfo& info);
  Napi::Value predictionRoute(const Napi::CallbackInfo& info);
  Napi::Value sparse(const Napi::CallbackInfo& info);
  Napi::Value program(const Napi::CallbackInfo& info);
  Napi::Value readActivations(const Napi::CallbackInfo& info);
  Napi::Value writeActivations(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
};

class BufferHandle : public Napi::ObjectWrap<BufferHandle>, public Handle<Buffer> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit BufferHandle(const Napi::CallbackInfo& info);
  void Finalize(Napi::BasicEnv env) override { external_.release(env); }
  static Napi::Object wrap(Napi::Env env, std::shared_ptr<Buffer> buffer, ElementType type);
  ElementType type() const { return type_; }

 private:
  ElementType type_ = ElementType::uint8;
  ExternalMemory external_;
  Napi::Value bytes(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value write(const Napi::CallbackInfo& info);
  Napi::Value copy(const Napi::CallbackInfo& info);
  Napi::Value resize(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
};

class MatrixHandle : public Napi::ObjectWrap<MatrixHandle>, public Handle<SparseMatrix> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit MatrixHandle(const Napi::CallbackInfo& info);
  void Finalize(Napi::BasicEnv env) override { external_.release(env); }
  static Napi::Object wrap(Napi::Env env, std::shared_ptr<SparseMatrix> matrix);

 private:
  ExternalMemory external_;
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value draw(const Napi::CallbackInfo& info);
  Napi::Value predictLinks(const Napi::CallbackInfo& info);
  Napi::Value resize(const Napi::CallbackInfo& info);
  Napi::Value capacity(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
};

class ProgramHandle : public Napi::ObjectWrap<ProgramHandle>, public Handle<Program> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit ProgramHandle(const Napi::CallbackInfo& info);
  static Napi::Object wrap(Napi::Env env, std::shared_ptr<Program> program);

 private:
  Napi::Value cut(const Napi::CallbackInfo& info);
  Napi::Value cancelStep(const Napi::CallbackInfo& info);
  Napi::Value part(const Napi::CallbackInfo& info);
  Napi::Value axis(const Napi::CallbackInfo& info);
  Napi::Value value(const Napi::CallbackInfo& info);
  Napi::Value setLifetime(const Napi::CallbackInfo& info);
  Napi::Value keepAll(const Napi::CallbackInfo& info);
  Napi::Value record(const Napi::CallbackInfo& info);
  Napi::Value replay(const Napi::CallbackInfo& info);
  Napi::Value abort(const Napi::CallbackInfo& info);
  Napi::Value stepsDone(const Napi::CallbackInfo& info);
  Napi::Value operationCount(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
};

/// The handle behind a JavaScript value, or an error that names what was expected.
template <class H>
H* unwrap(Napi::Value value, const Napi::FunctionReference& constructor, const char* what) {
  if (!value.IsObject() || !value.As<Napi::Object>().InstanceOf(constructor.Value()))
    fail(value.Env(), std::string("Expected a ") + what);
  return H::Unwrap(value.As<Napi::Object>());
}

/// { buffer, features, capacity, first, rows }: rows of a buffer of activations.
ActivationsView activationsOf(Napi::Value value, const char* what);

/// Copies the bytes of a typed array into a tensor, from byte `place` on, or [place columns][features] into
/// activations. The array is copied at once; the call is for the device's thread.
std::function<Status()> writingOf(const std::shared_ptr<Device>& device, Napi::Value target, Napi::Value data,
                                  Napi::Value place);
/// The other way round: `run` is for the device's thread, and `result`, with which the typed array `out` is filled and
/// given back, for JavaScript's.
struct Reading {
  std::function<Status()> run;
  std::function<Napi::Value(Napi::Env)> result;
};
Reading readingOf(const std::shared_ptr<Device>& device, Napi::Value source, Napi::Value out, Napi::Value place);
/// Whether the buffer, which a job before may have resized, and which as a value may have no place yet, has so many
/// bytes. On the device's thread.
Status holds(const Buffer& buffer, size_t bytes);

/// Draws the first links of a layer of rows x cols, on any thread.
using Drawing = std::function<Status(int32_t rows, int32_t cols, HostCsr* out, const std::atomic<bool>* stop)>;
/// An initial network, checked, see lib/native.ts, with { links, seed, layer }. If it is drawn `later`, what it needs
/// of JavaScript's memory is copied, unless another one that waits has copied it.
Drawing drawingOf(Napi::Value network, Napi::Object start, bool later);
/// { rowOffsets, columnIndices }
Napi::Value linksOf(Napi::Env env, const HostCsr& links);
/// { row, col, score }
Napi::Value scoresOf(Napi::Env env, const LinkScores& scores);

/// Records the operation `name` with its arguments; see lib/native.ts for their types.
void recordOperation(Program& program, const std::string& name, Napi::Object args);

/// predictLinks, sampleWithoutReplacement, descriptions, cudaStatus.
void defineFunctions(Napi::Env env, Napi::Object exports);
/// drawLinks, featureCorrelations.
void defineNetworks(Napi::Env env, Napi::Object exports);

}  // namespace hebb::binding
