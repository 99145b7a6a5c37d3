#include <optional>

#include "addon.h"

namespace hebb::binding {

Napi::Function ProgramHandle::define(Napi::Env env) {
  return DefineClass(
      env, "Program",
      {InstanceMethod<&ProgramHandle::cut>("cut"), InstanceMethod<&ProgramHandle::cancelStep>("cancelStep"),
       InstanceMethod<&ProgramHandle::part>("part"), InstanceMethod<&ProgramHandle::axis>("axis"),
       InstanceMethod<&ProgramHandle::value>("value"), InstanceMethod<&ProgramHandle::setLifetime>("setLifetime"),
       InstanceMethod<&ProgramHandle::keepAll>("keepAll"), InstanceMethod<&ProgramHandle::record>("record"),
       InstanceMethod<&ProgramHandle::replay>("replay"), InstanceMethod<&ProgramHandle::abort>("abort"),
       InstanceAccessor<&ProgramHandle::stepsDone>("stepsDone"),
       InstanceAccessor<&ProgramHandle::operationCount>("operationCount"),
       InstanceMethod<&ProgramHandle::dispose>("dispose")});
}

ProgramHandle::ProgramHandle(const Napi::CallbackInfo& info) : ObjectWrap(info) {}

Napi::Object ProgramHandle::wrap(Napi::Env env, std::shared_ptr<Program> program) {
  const Napi::Object object = Addon::of(env).programClass.New({});
  Unwrap(object)->native_ = std::move(program);
  return object;
}

// part(first, columns, of?): the axis of a micro-batch, or of a part of another axis.
Napi::Value ProgramHandle::part(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::shared_ptr<Buffer> axis, of;
  if (!info[2].IsUndefined()) of = unwrap<BufferHandle>(info[2], Addon::of(env).bufferClass, "axis")->get(env, "axis");
  check(env, get(env, "program")->makePart(int32Of(info[0], "first", 0), int32Of(info[1], "columns", 1), &axis, of));
  return BufferHandle::wrap(env, std::move(axis), ElementType::int32);
}

// axis(columns): one of its own.
Napi::Value ProgramHandle::axis(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::shared_ptr<Buffer> axis;
  check(env, get(env, "program")->makeAxis(int32Of(info[0], "columns", 1), &axis));
  return BufferHandle::wrap(env, std::move(axis), ElementType::int32);
}

// value(features, lifetime, axis?): a buffer that the program places.
Napi::Value ProgramHandle::value(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::shared_ptr<Buffer> axis;
  if (!info[2].IsUndefined())
    axis = unwrap<BufferHandle>(info[2], Addon::of(env).bufferClass, "axis")->get(env, "axis");
  ActivationsView value;
  check(env,
        get(env, "program")
            ->makeValue(int32Of(info[0], "features", 1), choiceOf<Lifetime>(info[1], "the lifetime"), &value, axis));
  return BufferHandle::wrap(env, std::move(value.buffer), ElementType::float32);
}

// setLifetime(value, lifetime)
Napi::Value ProgramHandle::setLifetime(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  check(env,
        get(env, "program")->setLifetime(activationsOf(info[0], "value"), choiceOf<Lifetime>(info[1], "the lifetime")));
  return env.Undefined();
}

// keepAll(all)
Napi::Value ProgramHandle::keepAll(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Program> program = get(info.Env(), "program");
  const bool all = info[0].ToBoolean();
  return Addon::of(info.Env()).promise(program->device(), [=] { return program->keepAll(all); });
}

// record(name, args)
Napi::Value ProgramHandle::record(const Napi::CallbackInfo& info) {
  if (!info[0].IsString() || !info[1].IsObject()) fail(info.Env(), "Expected an operation's name and its arguments");
  recordOperation(*get(info.Env(), "program"), info[0].As<Napi::String>().Utf8Value(), info[1].As<Napi::Object>());
  return info.Env().Undefined();
}

namespace {

std::vector<double> tableOf(Napi::Value value) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float64_array)
    fail(value.Env(), "Expected the scalars to be a Float64Array");
  const auto array = value.As<Napi::Float64Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

template <class Use>
void eachOf(Napi::Value list, const Use& use) {
  if (!list.IsArray()) return;
  const Napi::Array array = list.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); ++i) use(array.Get(i).As<Napi::Array>());
}

}  // namespace

// cut(): what is recorded from now on is another section of the step.
Napi::Value ProgramHandle::cut(const Napi::CallbackInfo& info) {
  get(info.Env(), "program")->cut();
  return info.Env().Undefined();
}

// cancelStep(): gives up the step whose first sections have run.
Napi::Value ProgramHandle::cancelStep(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Program> program = get(info.Env(), "program");
  return Addon::of(info.Env()).promise(program->device(), [=] { return program->cancelStep(); });
}

// replay(steps, begin?, writes?, reads?, section?): begin, { step?, scalars?, samples, columns, next }, says where.
// What is written before and read after is lists of [tensor or activations, array, place]. With a section, that of one
// step.
Napi::Value ProgramHandle::replay(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::shared_ptr<Program> program = get(env, "program");
  const int64_t steps = integerOf(info[0], "steps", 0);
  std::optional<Segment> segment;
  if (info[1].IsObject()) {
    const Napi::Object begin = info[1].As<Napi::Object>();
    segment.emplace();
    if (const Napi::Value step = begin.Get("step"); !step.IsUndefined()) segment->step = integerOf(step, "step", 0);
    segment->samples = integerOf(begin.Get("samples"), "samples", 0);
    segment->columns = int32Of(begin.Get("columns"), "columns", 0);
    segment->next = integerOf(begin.Get("next"), "next", 0);
    if (const Napi::Value scalars = begin.Get("scalars"); !scalars.IsUndefined()) segment->scalars = tableOf(scalars);
    check(env, program->checkSegment(*segment));
  }
  const int32_t section =
      info[4].IsUndefined() ? -1 : static_cast<int32_t>(integerOf(info[4], "section", 0, program->sections() - 1));
  std::vector<std::function<Status()>> writes, reads;
  std::vector<std::function<Napi::Value(Napi::Env)>> results;
  eachOf(info[2], [&](Napi::Array one) {
    writes.push_back(writingOf(program->device(), one.Get(0u), one.Get(1u), one.Get(2u)));
  });
  eachOf(info[3], [&](Napi::Array one) {
    Reading reading = readingOf(program->device(), one.Get(0u), one.Get(1u), one.Get(2u));
    reads.push_back(std::move(reading.run));
    results.push_back(std::move(reading.result));
  });
  if (segment && segment->step) program->countFrom(*segment->step);
  return Addon::of(env).promise(
      program->device(),
      [=, segment = std::move(segment), writes = std::move(writes), reads = std::move(reads),
       ticket = program->ticket()]() -> Status {
        for (const auto& write : writes) HEBB_RETURN_IF_ERROR(write());
        if (segment) HEBB_RETURN_IF_ERROR(program->begin(*segment));
        HEBB_RETURN_IF_ERROR(section < 0 ? program->replay(steps, ticket) : program->replaySection(section, ticket));
        for (const auto& read : reads) HEBB_RETURN_IF_ERROR(read());
        return {};
      },
      [results = std::move(results)](Napi::Env env) -> Napi::Value {
        for (const auto& result : results) result(env);
        return env.Undefined();
      });
}

// abort(): the replays asked for so far end; one that runs ends before or after its step.
Napi::Value ProgramHandle::abort(const Napi::CallbackInfo& info) {
  if (native_) native_->abort();
  return info.Env().Undefined();
}

Napi::Value ProgramHandle::stepsDone(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(get(info.Env(), "program")->stepsDone()));
}

Napi::Value ProgramHandle::operationCount(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(get(info.Env(), "program")->operationCount()));
}

Napi::Value ProgramHandle::dispose(const Napi::CallbackInfo& info) {
  native_.reset();
  return info.Env().Undefined();
}

}  // namespace hebb::binding
