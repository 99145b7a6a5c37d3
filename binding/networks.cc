// Initial networks. They are drawn at once, or on a device's thread into the links of a matrix.
#include "addon.h"
#include "hebb/correlation.h"
#include "hebb/topology.h"

namespace hebb::binding {
namespace {

/// x [samples][features] of a Uint8Array or a Float32Array, as it lies in JavaScript's memory.
networks::FeatureSamples featureSamplesOf(Napi::Value x, Napi::Value features) {
  const Napi::Env env = x.Env();
  networks::FeatureSamples data;
  data.features = int32Of(features, "features", 1);
  const auto type = x.IsTypedArray() ? x.As<Napi::TypedArray>().TypedArrayType() : napi_int8_array;
  if (type != napi_uint8_array && type != napi_float32_array)
    fail(env, "Expected x to be a Uint8Array or a Float32Array");
  data.bytes = type == napi_uint8_array;
  const Bytes bytes = bytesOf(x.As<Napi::TypedArray>());
  const auto size = static_cast<int64_t>(bytes.length) / (data.bytes ? 1 : 4);
  data.x = bytes.data;
  data.samples = size / data.features;
  if (size == 0 || size % data.features != 0)
    fail(env, "Expected x to hold samples of " + std::to_string(data.features) + " features, got " +
                  std::to_string(size) + " elements");
  return data;
}

constexpr napi_type_tag kCorrelationsTag = {0x6A7E0C5B1D3F4E21, 0x9B0D2C4E8F6A1735};

/// What featureCorrelations() made.
std::shared_ptr<networks::FeatureCorrelations> correlationsOf(Napi::Value value) {
  if (!value.IsExternal() ||
      !value.As<Napi::External<std::shared_ptr<networks::FeatureCorrelations>>>().CheckTypeTag(&kCorrelationsTag))
    fail(value.Env(), "Expected correlations made by featureCorrelations()");
  return *value.As<Napi::External<std::shared_ptr<networks::FeatureCorrelations>>>().Data();
}

// drawLinks(network, { rows, cols, links, seed, layer })
Napi::Value drawLinks(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object start = info[1].ToObject();
  const int32_t rows = int32Of(start.Get("rows"), "rows", 1), cols = int32Of(start.Get("cols"), "cols", 1);
  HostCsr links;
  check(env, drawingOf(info[0], start, false)(rows, cols, &links, nullptr));
  return linksOf(env, links);
}

// featureCorrelations(): an object for csti's networks, which keeps what they find in one data set.
Napi::Value featureCorrelations(const Napi::CallbackInfo& info) {
  using Shared = std::shared_ptr<networks::FeatureCorrelations>;
  auto external = Napi::External<Shared>::New(info.Env(), new Shared(std::make_shared<networks::FeatureCorrelations>()),
                                              [](Napi::BasicEnv, Shared* shared) { delete shared; });
  external.TypeTag(&kCorrelationsTag);
  return external;
}

// strongestPairs(x, features, count): { first, second, correlation }
Napi::Value strongestFeaturePairs(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::vector<networks::FeaturePair> pairs;
  check(env, networks::strongestPairs(featureSamplesOf(info[0], info[1]), integerOf(info[2], "count", 0), &pairs));
  auto first = Napi::Int32Array::New(env, pairs.size()), second = Napi::Int32Array::New(env, pairs.size());
  auto correlation = Napi::Float64Array::New(env, pairs.size());
  for (size_t i = 0; i < pairs.size(); ++i) {
    first[i] = pairs[i].first;
    second[i] = pairs[i].second;
    correlation[i] = pairs[i].correlation;
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("first", first);
  result.Set("second", second);
  result.Set("correlation", correlation);
  return result;
}

}  // namespace

Drawing drawingOf(Napi::Value network, Napi::Object start, bool later) {
  using namespace networks;
  const Napi::Env env = network.Env();
  const Napi::Object given = network.ToObject();
  const int64_t links = integerOf(start.Get("links"), "links", 0);
  const auto seed = static_cast<uint64_t>(integerOf(start.Get("seed"), "seed", 0));
  const int32_t layer = int32Of(start.Get("layer"), "layer", 0);
  const std::string kind = given.Get("kind").ToString();
  if (kind == "brf") {
    BrfOptions options;
    options.randomness = numberOf(given.Get("r"), "r", 0, 1);
    options.uniformDegrees = given.Get("uniformDegrees").ToBoolean();
    return [=](int32_t rows, int32_t cols, HostCsr* out, const std::atomic<bool>* stop) {
      return bipartiteReceptiveField(rows, cols, links, options, seed, layer, out, stop);
    };
  }
  if (kind == "bsw") {
    const double beta = numberOf(given.Get("beta"), "beta", 0, 1);
    return [=](int32_t rows, int32_t cols, HostCsr* out, const std::atomic<bool>* stop) {
      return bipartiteSmallWorld(rows, cols, links, beta, seed, layer, out, stop);
    };
  }
  if (kind == "bsf") {
    return [=](int32_t rows, int32_t cols, HostCsr* out, const std::atomic<bool>* stop) {
      return bipartiteScaleFree(rows, cols, links, seed, layer, out, stop);
    };
  }
  if (kind == "erdosRenyi") {
    return [=](int32_t rows, int32_t cols, HostCsr* out, const std::atomic<bool>*) {
      return erdosRenyi(rows, cols, links, seed, layer, out);
    };
  }
  if (kind != "csti") fail(env, "Expected 'brf', 'bsw', 'bsf', 'csti' or 'erdosRenyi', got '" + kind + "'");
  const std::shared_ptr<FeatureCorrelations> correlations = correlationsOf(given.Get("correlations"));
  FeatureSamples data = featureSamplesOf(given.Get("x"), given.Get("features"));
  std::shared_ptr<const std::vector<uint8_t>> held;
  if (later) {
    held = correlations->hold(data);
    data.x = held->data();
  }
  // Held by name: a lambda does not capture what it does not use.
  return [=, held = held](int32_t rows, int32_t cols, HostCsr* out, const std::atomic<bool>* stop) -> Status {
    std::shared_ptr<const std::vector<FeaturePair>> pairs;
    HEBB_RETURN_IF_ERROR(correlations->strongest(data, pairsOf(rows, cols, links, data.features), &pairs, stop));
    return correlatedSparse(rows, cols, links, data.features, *pairs, seed, layer, out);
  };
}

void defineNetworks(Napi::Env env, Napi::Object exports) {
  exports.Set("drawLinks", Napi::Function::New<drawLinks>(env, "drawLinks"));
  exports.Set("featureCorrelations", Napi::Function::New<featureCorrelations>(env, "featureCorrelations"));
  exports.Set("strongestPairs", Napi::Function::New<strongestFeaturePairs>(env, "strongestPairs"));
}

}  // namespace hebb::binding
