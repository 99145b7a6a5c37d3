// Turns the arguments of an operation, as JavaScript has them, into operands. What they must be is the engine's to say.
#include "addon.h"

namespace hebb::binding {
namespace {

bool isA(Napi::Value value, const Napi::FunctionReference& constructor) {
  return value.IsObject() && value.As<Napi::Object>().InstanceOf(constructor.Value());
}

Operand operandOf(Napi::Value value, const std::string& name);

Operands operandsOf(Napi::Object object, const std::string& prefix) {
  Operands operands;
  const Napi::Array names = object.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); ++i) {
    const std::string name = names.Get(i).As<Napi::String>().Utf8Value();
    const Napi::Value value = object.Get(name);
    if (!value.IsUndefined() && !value.IsNull()) operands.add({name, operandOf(value, prefix + name)});
  }
  return operands;
}

Operand operandOf(Napi::Value value, const std::string& name) {
  const Napi::Env env = value.Env();
  const Addon& addon = Addon::of(env);
  if (value.IsNumber()) return value.As<Napi::Number>().DoubleValue();
  if (value.IsBoolean()) return value.As<Napi::Boolean>().Value();
  if (value.IsString()) return value.As<Napi::String>().Utf8Value();
  if (isA(value, addon.bufferClass)) {
    const BufferHandle* handle = BufferHandle::Unwrap(value.As<Napi::Object>());
    return TensorView{handle->get(env, "tensor"), handle->type()};
  }
  if (isA(value, addon.matrixClass)) return MatrixHandle::Unwrap(value.As<Napi::Object>())->get(env, "sparse matrix");
  if (value.IsArray()) {
    const Napi::Array array = value.As<Napi::Array>();
    OperandList list;
    for (uint32_t i = 0; i < array.Length(); ++i)
      list.push_back(operandOf(array.Get(i), name + "." + std::to_string(i)));
    return list;
  }
  if (value.IsObject()) {
    const Napi::Object object = value.As<Napi::Object>();
    if (isA(object.Get("buffer"), addon.bufferClass)) return activationsOf(object, name.c_str());
    return operandsOf(object, name + ".");
  }
  fail(env, "Expected " + name + " to be a tensor, activations, a sparse matrix, a number, a string, true or false");
}

}  // namespace

ActivationsView activationsOf(Napi::Value value, const char* what) {
  const Napi::Env env = value.Env();
  if (!value.IsObject() || !isA(value.As<Napi::Object>().Get("buffer"), Addon::of(env).bufferClass)) {
    fail(env, std::string("Expected ") + what + " to be activations");
  }
  const Napi::Object object = value.As<Napi::Object>();
  ActivationsView view;
  view.buffer = BufferHandle::Unwrap(object.Get("buffer").As<Napi::Object>())->get(env, "buffer");
  view.features = int32Of(object.Get("features"), "features", 1);
  view.capacity = int32Of(object.Get("capacity"), "capacity", 1);
  view.first = int32Of(object.Get("first"), "first", 0);
  view.rows = int32Of(object.Get("rows"), "rows", 1);
  return view;
}

void recordOperation(Program& program, const std::string& name, Napi::Object object) {
  check(object.Env(), program.record(name, operandsOf(object, "")));
}

}  // namespace hebb::binding
