// What the addon offers beside devices and their objects, and initial networks: functions that answer at once, and
// descriptions.
#include <sys/file.h>

#include <cerrno>

#include "addon.h"
#include "hebb/describe.h"

namespace hebb::binding {
namespace {

// predictLinks(rows, cols, rowOffsets, columnIndices, predictor, route)
Napi::Value predictLinks(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::shared_ptr<Device> device;
  check(env, Addon::of(env).immediate(&device));
  const Napi::Int32Array offsets = int32ArrayOf(info[2], "rowOffsets"),
                         indices = int32ArrayOf(info[3], "columnIndices");
  std::shared_ptr<SparseMatrix> matrix;
  check(env, SparseMatrix::create(device, int32Of(info[0], "rows", 1), int32Of(info[1], "cols", 1),
                                  static_cast<int32_t>(indices.ElementLength()), offsets.Data(),
                                  offsets.ElementLength(), indices.Data(), indices.ElementLength(), &matrix));
  LinkScores scores;
  check(env, device->run(PredictLinks{matrix->csr(), choiceOf<LinkPredictor>(info[4], "the link predictor"), &scores,
                                      choiceOf<PredictionRoute>(info[5], "the route")}));
  return scoresOf(env, scores);
}

// sampleWithoutReplacement(scores, k, temperature, seed)
Napi::Value sampleWithoutReplacement(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::shared_ptr<Device> device;
  check(env, Addon::of(env).immediate(&device));
  const Napi::Float32Array scores = float32ArrayOf(info[0], "scores");
  SampleScores op;
  op.scores = scores.Data();
  op.n = static_cast<int64_t>(scores.ElementLength());
  op.k = integerOf(info[1], "k", 0, op.n);
  op.temperature = static_cast<float>(numberOf(info[2], "temperature", 0, 1e30));
  op.seed = static_cast<uint64_t>(integerOf(info[3], "seed", 0));
  std::vector<int64_t> indices;
  op.indices = &indices;
  check(env, device->run(op));
  auto result = Napi::Int32Array::New(env, indices.size());
  std::copy(indices.begin(), indices.end(), result.Data());
  return result;
}

Napi::Value resultOf(Napi::Env env, const std::vector<networks::LayerDescription>& layers) {
  const auto degrees = [&](const networks::DegreeCounts& counts) {
    auto degree = Napi::Int32Array::New(env, counts.degrees.size()),
         neurons = Napi::Int32Array::New(env, counts.neurons.size());
    std::copy(counts.degrees.begin(), counts.degrees.end(), degree.Data());
    std::copy(counts.neurons.begin(), counts.neurons.end(), neurons.Data());
    Napi::Object result = Napi::Object::New(env);
    result.Set("degrees", degree);
    result.Set("neurons", neurons);
    return result;
  };
  const auto estimate = [&](const networks::Estimate& e) {
    Napi::Object result = Napi::Object::New(env);
    result.Set("value", e.value);
    result.Set("error", e.error);
    return result;
  };
  Napi::Array result = Napi::Array::New(env, layers.size());
  for (size_t l = 0; l < layers.size(); ++l) {
    Napi::Object layer = Napi::Object::New(env);
    layer.Set("inputs", degrees(layers[l].inputs));
    layer.Set("outputs", degrees(layers[l].outputs));
    layer.Set("clustering", estimate(layers[l].clustering));
    layer.Set("pathLength", estimate(layers[l].pathLength));
    layer.Set("connected", layers[l].connected);
    layer.Set("percolatedLinks", static_cast<double>(layers[l].percolatedLinks));
    layer.Set("percolatedInputs", layers[l].percolatedInputs);
    layer.Set("percolatedOutputs", layers[l].percolatedOutputs);
    result.Set(static_cast<uint32_t>(l), layer);
  }
  return result;
}

/// The links of matrices on a device, in host memory. On the device's thread, or on an immediate device's.
Status describe(const std::vector<std::shared_ptr<SparseMatrix>>& matrices, const std::vector<bool>& follows,
                const networks::DescribeOptions& options, std::vector<networks::LayerDescription>* out,
                const std::atomic<bool>* stop) {
  std::vector<networks::DescribedLayer> layers(matrices.size());
  for (size_t l = 0; l < matrices.size(); ++l) {
    HEBB_RETURN_IF_ERROR(matrices[l]->read(&layers[l].links));
    layers[l].rows = matrices[l]->rows();
    layers[l].cols = matrices[l]->cols();
    layers[l].follows = follows[l];
  }
  return networks::describeTopology(layers, options, out, stop);
}

std::vector<bool> followsOf(Napi::Value value, uint32_t count) {
  if (!value.IsArray() || value.As<Napi::Array>().Length() != count)
    fail(value.Env(), "Expected follows to be a list, one entry a layer");
  std::vector<bool> follows;
  for (uint32_t l = 0; l < count; ++l) follows.push_back(value.As<Napi::Array>().Get(l).ToBoolean());
  return follows;
}

// describeMatrices([matrix], [follows], exactUpTo, seed): a promise.
Napi::Value describeMatrices(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsArray() || info[0].As<Napi::Array>().Length() == 0) fail(env, "Expected a list of sparse matrices");
  const auto list = info[0].As<Napi::Array>();
  std::vector<std::shared_ptr<SparseMatrix>> matrices;
  for (uint32_t l = 0; l < list.Length(); ++l) {
    matrices.push_back(
        unwrap<MatrixHandle>(list.Get(l), Addon::of(env).matrixClass, "sparse matrix")->get(env, "sparse matrix"));
    if (matrices.back()->device() != matrices.front()->device()) fail(env, "Expected sparse matrices on one device");
  }
  const std::vector<bool> follows = followsOf(info[1], list.Length());
  networks::DescribeOptions options;
  options.exactUpTo = integerOf(info[2], "exactUpTo", 0);
  options.seed = static_cast<uint64_t>(integerOf(info[3], "seed", 0));
  auto layers = std::make_shared<std::vector<networks::LayerDescription>>();
  const std::shared_ptr<Device> device = matrices.front()->device();
  return Addon::of(env).promise(
      device,
      [=]() -> Status {
        const Status status = describe(matrices, follows, options, layers.get(), &device->backend().stop);
        return !status.ok() && device->closing()
                   ? Status{Code::disposed, "the device was disposed while the topology was described"}
                   : status;
      },
      [=](Napi::Env env) { return resultOf(env, *layers); });
}

// describeLinks([{ rows, cols, rowOffsets, columnIndices }], [follows], exactUpTo, seed)
Napi::Value describeLinks(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::shared_ptr<Device> device;
  check(env, Addon::of(env).immediate(&device));
  if (!info[0].IsArray()) fail(env, "Expected a list of layers");
  const auto list = info[0].As<Napi::Array>();
  std::vector<std::shared_ptr<SparseMatrix>> matrices(list.Length());
  for (uint32_t l = 0; l < list.Length(); ++l) {
    const Napi::Object layer = list.Get(l).ToObject();
    const Napi::Int32Array offsets = int32ArrayOf(layer.Get("rowOffsets"), "rowOffsets"),
                           indices = int32ArrayOf(layer.Get("columnIndices"), "columnIndices");
    check(env,
          SparseMatrix::create(device, int32Of(layer.Get("rows"), "rows", 1), int32Of(layer.Get("cols"), "cols", 1),
                               static_cast<int32_t>(indices.ElementLength()), offsets.Data(), offsets.ElementLength(),
                               indices.Data(), indices.ElementLength(), &matrices[l]));
  }
  networks::DescribeOptions options;
  options.exactUpTo = integerOf(info[2], "exactUpTo", 0);
  options.seed = static_cast<uint64_t>(integerOf(info[3], "seed", 0));
  std::vector<networks::LayerDescription> layers;
  check(env, describe(matrices, followsOf(info[1], list.Length()), options, &layers, nullptr));
  return resultOf(env, layers);
}

Napi::Value cudaStatus(const Napi::CallbackInfo& info) {
  std::string detail;
  const int count = cudaDeviceCount(&detail);
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("built", cudaBuilt());
  result.Set("devices", count);
  result.Set("detail", detail);
  return result;
}

Napi::Value cublasStatus(const Napi::CallbackInfo& info) {
  std::string detail;
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("found", findCublas(&detail));
  result.Set("detail", detail);
  return result;
}

// tryLock(fd): whether the open file is locked by its owner alone now. The lock ends with the file or its process,
// however that ends. Where a file system knows no locks, there is nobody to be found out.
Napi::Value tryLock(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int fd = int32Of(info[0], "a file descriptor", 0);
  int result;
  do result = flock(fd, LOCK_EX | LOCK_NB);
  while (result != 0 && errno == EINTR);
  return Napi::Boolean::New(env, result == 0 || errno != EWOULDBLOCK);
}

Napi::Value setErrorClass(const Napi::CallbackInfo& info) {
  Addon::of(info.Env()).errorClass = Napi::Persistent(info[0].As<Napi::Function>());
  return info.Env().Undefined();
}

}  // namespace

void defineFunctions(Napi::Env env, Napi::Object exports) {
  exports.Set(
      "describeOperations",
      Napi::Function::New(
          env, [](const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), hebb::describeOperations()); },
          "describeOperations"));
  exports.Set("predictLinks", Napi::Function::New<predictLinks>(env, "predictLinks"));
  exports.Set("sampleWithoutReplacement",
              Napi::Function::New<sampleWithoutReplacement>(env, "sampleWithoutReplacement"));
  exports.Set("describeMatrices", Napi::Function::New<describeMatrices>(env, "describeMatrices"));
  exports.Set("describeLinks", Napi::Function::New<describeLinks>(env, "describeLinks"));
  exports.Set("cudaStatus", Napi::Function::New<cudaStatus>(env, "cudaStatus"));
  exports.Set("cublasStatus", Napi::Function::New<cublasStatus>(env, "cublasStatus"));
  exports.Set("tryLock", Napi::Function::New<tryLock>(env, "tryLock"));
  exports.Set("setErrorClass", Napi::Function::New<setErrorClass>(env, "setErrorClass"));
}

}  // namespace hebb::binding
