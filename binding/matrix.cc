// The links of a layer on a device, as JavaScript holds them.
#include "addon.h"

namespace hebb::binding {

Napi::Value linksOf(Napi::Env env, const HostCsr& links) {
  Napi::Object result = Napi::Object::New(env);
  const auto array = [&](const std::vector<int32_t>& from) {
    Napi::Int32Array to = Napi::Int32Array::New(env, from.size());
    std::copy(from.begin(), from.end(), to.Data());
    return to;
  };
  result.Set("rowOffsets", array(links.rowOffsets));
  result.Set("columnIndices", array(links.columnIndices));
  return result;
}

Napi::Value scoresOf(Napi::Env env, const LinkScores& scores) {
  Napi::Object result = Napi::Object::New(env);
  auto row = Napi::Int32Array::New(env, scores.row.size()), col = Napi::Int32Array::New(env, scores.col.size());
  auto score = Napi::Float32Array::New(env, scores.score.size());
  std::copy(scores.row.begin(), scores.row.end(), row.Data());
  std::copy(scores.col.begin(), scores.col.end(), col.Data());
  std::copy(scores.score.begin(), scores.score.end(), score.Data());
  result.Set("row", row);
  result.Set("col", col);
  result.Set("score", score);
  return result;
}

Napi::Function MatrixHandle::define(Napi::Env env) {
  return DefineClass(
      env, "SparseMatrix",
      {InstanceMethod<&MatrixHandle::read>("read"), InstanceMethod<&MatrixHandle::draw>("draw"),
       InstanceMethod<&MatrixHandle::predictLinks>("predictLinks"), InstanceMethod<&MatrixHandle::resize>("resize"),
       InstanceAccessor<&MatrixHandle::capacity>("capacity"), InstanceMethod<&MatrixHandle::dispose>("dispose")});
}

MatrixHandle::MatrixHandle(const Napi::CallbackInfo& info) : ObjectWrap(info) {}

Napi::Object MatrixHandle::wrap(Napi::Env env, std::shared_ptr<SparseMatrix> matrix) {
  const Napi::Object object = Addon::of(env).matrixClass.New({});
  MatrixHandle* handle = Unwrap(object);
  handle->external_.hold(env, static_cast<size_t>(matrix->bytes()));
  handle->native_ = std::move(matrix);
  return object;
}

// resize(capacity): room for another number of links.
Napi::Value MatrixHandle::resize(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::shared_ptr<SparseMatrix> matrix = get(env, "sparse matrix");
  const int32_t capacity = int32Of(info[0], "capacity", 1);
  const auto self = std::make_shared<Napi::ObjectReference>(Napi::Persistent(info.This().As<Napi::Object>()));
  return Addon::of(env).promise(
      matrix->device(), [=] { return matrix->resize(capacity); },
      [=](Napi::Env env) -> Napi::Value {
        MatrixHandle* handle = Unwrap(self->Value());
        if (!handle->disposed()) {
          handle->external_.release(env);
          handle->external_.hold(env, static_cast<size_t>(matrix->bytes()));
        }
        return env.Undefined();
      });
}

Napi::Value MatrixHandle::capacity(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), get(info.Env(), "sparse matrix")->csr().capacity);
}

// read(): the links as { rowOffsets, columnIndices }.
Napi::Value MatrixHandle::read(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::shared_ptr<SparseMatrix> matrix = get(env, "sparse matrix");
  auto links = std::make_shared<HostCsr>();
  return Addon::of(env).promise(
      matrix->device(), [=] { return matrix->read(links.get()); }, [=](Napi::Env env) { return linksOf(env, *links); });
}

// draw(network, { links, seed, layer }): replaces the links.
Napi::Value MatrixHandle::draw(const Napi::CallbackInfo& info) {
  const std::shared_ptr<SparseMatrix> matrix = get(info.Env(), "sparse matrix");
  const Drawing drawing = drawingOf(info[0], info[1].ToObject(), true);
  return Addon::of(info.Env()).promise(matrix->device(), [=] {
    return matrix->fill(
        [&](HostCsr* out) { return drawing(matrix->rows(), matrix->cols(), out, &matrix->device()->backend().stop); });
  });
}

// predictLinks(predictor, route)
Napi::Value MatrixHandle::predictLinks(const Napi::CallbackInfo& info) {
  const std::shared_ptr<SparseMatrix> matrix = get(info.Env(), "sparse matrix");
  auto scores = std::make_shared<LinkScores>();
  const PredictLinks op{matrix->csr(), choiceOf<LinkPredictor>(info[0], "the link predictor"), scores.get(),
                        choiceOf<PredictionRoute>(info[1], "the route")};
  return Addon::of(info.Env())
      .promise(
          matrix->device(), [=] { return matrix->device()->run(op); },
          [=](Napi::Env env) -> Napi::Value { return scoresOf(env, *scores); });
}

Napi::Value MatrixHandle::dispose(const Napi::CallbackInfo& info) {
  external_.release(info.Env());
  native_.reset();
  return info.Env().Undefined();
}

}  // namespace hebb::binding
