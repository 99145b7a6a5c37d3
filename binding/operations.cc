// Turns { name, args } into an operation: one entry an operation, in the order of hebb/operations.h.
#include <map>

#include "addon.h"
#include "hebb/describe.h"
#include "hebb/topology.h"

namespace hebb::binding {

Activations activationsOf(Napi::Value value, const char* what, const std::shared_ptr<Device>& device, std::vector<std::shared_ptr<Buffer>>* uses) {
  const Napi::Env env = value.Env();
  if (!value.IsObject() || value.As<Napi::Object>().InstanceOf(Addon::of(env).bufferClass.Value())) fail(env, std::string("Expected ") + what + " to be activations");
  const Napi::Object object = value.As<Napi::Object>();
  Activations a;
  a.features = int32Of(object.Get("features"), "features", 1);
  a.capacity = int32Of(object.Get("capacity"), "capacity", 1);
  a.panel = device->backend().panel(a.capacity);
  const auto& buffer = unwrap<BufferHandle>(object.Get("buffer"), Addon::of(env).bufferClass, "buffer")->get(env, "buffer");
  if (buffer->device() != device) fail(env, std::string("Expected ") + what + " to be on the program's device");
  if (static_cast<int64_t>(buffer->bytes()) < int64_t{a.panels()} * a.panel * a.features * 4) fail(env, std::string("Expected ") + what + " to have a buffer large enough for its shape");
  a.data = buffer->data<float>();
  uses->push_back(buffer);
  return a;
}

FeatureSamples featureSamplesOf(Napi::Value x, Napi::Value features) {
  const Napi::Env env = x.Env();
  FeatureSamples data;
  data.features = int32Of(features, "features", 1);
  const auto type = x.IsTypedArray() ? x.As<Napi::TypedArray>().TypedArrayType() : napi_int8_array;
  if (type != napi_uint8_array && type != napi_float32_array) fail(env, "Expected x to be a Uint8Array or a Float32Array");
  data.bytes = type == napi_uint8_array;
  const Bytes bytes = bytesOf(x.As<Napi::TypedArray>());
  const auto size = static_cast<int64_t>(bytes.length) / (data.bytes ? 1 : 4);
  data.x = bytes.data;
  data.samples = size / data.features;
  if (size == 0 || size % data.features != 0) fail(env, "Expected x to hold samples of " + std::to_string(data.features) + " features, got " + std::to_string(size) + " elements");
  return data;
}

constexpr napi_type_tag kCorrelationsTag = {0x6A7E0C5B1D3F4E21, 0x9B0D2C4E8F6A1735};

std::shared_ptr<FeatureCorrelations> correlationsOf(Napi::Value value) {
  if (!value.IsExternal() || !value.As<Napi::External<std::shared_ptr<FeatureCorrelations>>>().CheckTypeTag(&kCorrelationsTag)) fail(value.Env(), "Expected correlations made by featureCorrelations()");
  return *value.As<Napi::External<std::shared_ptr<FeatureCorrelations>>>().Data();
}

namespace {

template <class T>
constexpr ElementType kElementType = ElementType::float32;
template <>
constexpr ElementType kElementType<LossTotals> = ElementType::float64;
template <>
constexpr ElementType kElementType<int32_t> = ElementType::int32;
template <>
constexpr ElementType kElementType<uint8_t> = ElementType::uint8;
template <>
constexpr ElementType kElementType<uint64_t> = ElementType::uint64;
template <>
constexpr ElementType kElementType<int64_t> = ElementType::uint64;  // JavaScript's side of a count

/// Reads the fields of an operation's arguments.
class Args {
 public:
  Args(Program& program, Napi::Object object) : program_(program), object_(object) {}

  std::vector<std::shared_ptr<Buffer>> uses;

  bool has(const char* name) const {
    const Napi::Value value = object_.Get(name);
    return !value.IsUndefined() && !value.IsNull();
  }
  Csr matrix(const char* name) {
    const auto& matrix = unwrap<MatrixHandle>(object_.Get(name), Addon::of(env()).matrixClass, "sparse matrix")->get(env(), "sparse matrix");
    if (matrix->device() != program_.device()) fail(env(), std::string("Expected ") + name + " to be on the program's device");
    uses.insert(uses.end(), matrix->buffers().begin(), matrix->buffers().end());
    return matrix->csr();
  }
  /// At least `count` elements of T in device memory.
  template <class T>
  T* array(const char* name, int64_t count) {
    return element<T>(object_.Get(name), name, count);
  }
  template <class T>
  T* optionalArray(const char* name, int64_t count) {
    return has(name) ? array<T>(name, count) : nullptr;
  }
  template <class T>
  std::vector<T*> arrays(const char* name, int64_t count) {
    const Napi::Array list = listOf(name);
    std::vector<T*> result;
    for (uint32_t i = 0; i < list.Length(); ++i) result.push_back(element<T>(list.Get(i), name, count));
    return result;
  }
  Napi::Array listOf(const char* name) {
    const Napi::Value value = object_.Get(name);
    if (!value.IsArray()) fail(env(), std::string("Expected ") + name + " to be an array");
    return value.As<Napi::Array>();
  }
  Activations activations(const char* name) {
    Activations a = activationsOf(object_.Get(name), name, program_.device(), &uses);
    if (a.capacity < program_.batch()) {
      fail(env(), std::string("Expected ") + name + " to have room for the program's batch of " + std::to_string(program_.batch()) + " columns, got " + std::to_string(a.capacity));
    }
    a.columns = program_.columns();
    return a;
  }
  Activations optionalActivations(const char* name) { return has(name) ? activations(name) : Activations{}; }
  const double* scalar(const char* name) {
    const int32_t index = integer(name, 0);
    if (index >= program_.scalarCount()) fail(env(), std::string("Expected ") + name + " to be one of the program's scalars");
    return program_.scalar(index);
  }
  const double* optionalScalar(const char* name) { return has(name) ? scalar(name) : nullptr; }
  double number(const char* name, double otherwise) { return has(name) ? numberOf(object_.Get(name), name, -1e300, 1e300) : otherwise; }
  int32_t integer(const char* name, int32_t least) { return int32Of(object_.Get(name), name, least); }
  uint64_t seed() { return static_cast<uint64_t>(integerOf(object_.Get("seed"), "seed", 0)); }
  bool flag(const char* name) { return object_.Get(name).ToBoolean(); }
  template <class E>
  E choice(const char* name, std::initializer_list<std::pair<const char*, E>> choices) {
    return choiceOf<E>(object_.Get(name), name, choices);
  }
  Activation activation() {
    return has("activation") ? choice<Activation>("activation", {{"none", Activation::none}, {"relu", Activation::relu}}) : Activation::none;
  }
  LinkChanges changes(const Csr& links) {
    Args inner(program_, objectOf("changes"));
    LinkChanges c{inner.array<uint8_t>("keep", links.capacity), inner.array<int32_t>("newRows", links.capacity), inner.array<int32_t>("newColumns", links.capacity), inner.array<int32_t>("newCount", 1)};
    uses.insert(uses.end(), inner.uses.begin(), inner.uses.end());
    return c;
  }
  Pool pool() {
    Args inner(program_, objectOf("pool"));
    Pool p{inner.matrix("links")};
    p.values = inner.array<float>("values", p.links.capacity);
    p.keep = inner.array<uint8_t>("keep", p.links.capacity);
    uses.insert(uses.end(), inner.uses.begin(), inner.uses.end());
    return p;
  }
  SgdRule sgdRule(int64_t count) {
    SgdRule rule;
    rule.values = array<float>("values", count);
    rule.momentum = static_cast<float>(number("momentum", 0));
    rule.weightDecay = static_cast<float>(number("weightDecay", 0));
    rule.velocity = optionalArray<float>("velocity", count);
    rule.learningRate = scalar("learningRate");
    if (rule.momentum != 0 && !rule.velocity) fail(env(), "Expected velocity where momentum is not 0");
    return rule;
  }
  /// Of images with planes of so many pixels.
  Augmentation augmentation(int32_t plane) {
    Args inner(program_, objectOf("augmentation"));
    Augmentation a{inner.integer("height", 1), inner.integer("width", 1), inner.integer("padding", 0), inner.flag("flip"), inner.seed()};
    if (int64_t{a.height} * a.width != plane) fail(env(), "Expected images of " + std::to_string(plane) + " pixels, got " + std::to_string(a.height) + " x " + std::to_string(a.width));
    if (a.padding > 65535) fail(env(), "Expected padding to be at most 65535, got " + std::to_string(a.padding));
    return a;
  }
  Napi::Object objectOf(const char* name) {
    const Napi::Value value = object_.Get(name);
    if (!value.IsObject()) fail(env(), std::string("Expected ") + name + " to be an object");
    return value.As<Napi::Object>();
  }
  Program& program() const { return program_; }
  Napi::Env env() const { return object_.Env(); }

  template <class E>
  static E choiceOf(Napi::Value value, const char* name, std::initializer_list<std::pair<const char*, E>> choices) {
    const std::string given = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
    std::string names;
    for (const auto& [text, result] : choices) {
      if (given == text) return result;
      names += (names.empty() ? "'" : ", '") + std::string(text) + "'";
    }
    fail(value.Env(), std::string("Expected ") + name + " to be one of " + names + ", got '" + given + "'");
  }

 private:
  template <class T>
  T* element(Napi::Value value, const char* name, int64_t count) {
    const BufferHandle* handle = unwrap<BufferHandle>(value, Addon::of(env()).bufferClass, (std::string("tensor for ") + name).c_str());
    const auto& buffer = handle->get(env(), "tensor");
    if (handle->type() != kElementType<T>) fail(env(), std::string("Expected ") + name + " to be a tensor of " + nameOf(kElementType<T>) + ", got one of " + nameOf(handle->type()));
    if (buffer->device() != program_.device()) fail(env(), std::string("Expected ") + name + " to be on the program's device");
    if (static_cast<int64_t>(buffer->bytes() / sizeof(T)) < count) fail(env(), std::string("Expected ") + name + " to hold at least " + std::to_string(count) + " elements, got " + std::to_string(buffer->bytes() / sizeof(T)));
    uses.push_back(buffer);
    return buffer->data<T>();
  }

  Program& program_;
  Napi::Object object_;
};

const std::initializer_list<std::pair<const char*, LinkPredictor>> kPredictors = {{"none", LinkPredictor::none}, {"CH2-L3n", LinkPredictor::ch2L3n}, {"CH3-L3n", LinkPredictor::ch3L3n}, {"CH2-L3p", LinkPredictor::ch2L3p}, {"CH3-L3p", LinkPredictor::ch3L3p}};
const std::initializer_list<std::pair<const char*, PredictionRoute>> kRoutes = {{"auto", PredictionRoute::automatic}, {"sparse", PredictionRoute::sparse}, {"dense", PredictionRoute::dense}};

const std::initializer_list<std::pair<const char*, DenseProduct>> kDenseProducts = {{"auto", DenseProduct::automatic}, {"fma", DenseProduct::fma}, {"tensorCores", DenseProduct::tensorCores}};

StepState* streamOf(Args& a) { return a.program().state(); }

using Maker = Operation (*)(Args&);

const std::map<std::string, Maker>& makers() {
  static const std::map<std::string, Maker> all = {
      {"permute", [](Args& a) -> Operation {
         const int32_t count = a.integer("count", 1);
         return Permute{a.array<int32_t>("indices", count), count, a.seed(), a.optionalScalar("epoch"), a.flag("identity")};
       }},
      {"gather", [](Args& a) -> Operation {
         Gather op;
         op.output = a.activations("output");
         op.samples = a.integer("samples", 1);
         const int64_t elements = op.samples * op.output.features;
         op.bytes = a.optionalArray<uint8_t>("bytes", elements);
         op.floats = a.optionalArray<float>("floats", elements);
         if (!op.bytes == !op.floats) fail(a.env(), "Expected either bytes or floats");
         op.scale = static_cast<float>(a.number("scale", 1));
         op.shift = static_cast<float>(a.number("shift", 0));
         op.count = a.integer("count", 1);
         op.indices = a.array<int32_t>("indices", op.count);
         op.state = streamOf(a);
         if (a.has("channels")) op.channels = a.integer("channels", 1);
         if (op.output.features % op.channels != 0) fail(a.env(), "Expected features of " + std::to_string(op.channels) + " channels, got " + std::to_string(op.output.features));
         op.scales = a.optionalArray<float>("scales", op.channels);
         op.shifts = a.optionalArray<float>("shifts", op.channels);
         if (!op.scales != !op.shifts) fail(a.env(), "Expected scales and shifts, or none of them");
         if (a.has("augmentation")) op.augmentation = a.augmentation(op.output.features / op.channels);
         return op;
       }},
      {"gatherLabels", [](Args& a) -> Operation {
         const int32_t count = a.integer("count", 1);
         const int32_t samples = a.integer("samples", 1);
         return GatherLabels{a.array<int32_t>("labels", samples), samples, a.array<int32_t>("indices", count), count, streamOf(a), a.array<int32_t>("targets", a.program().batch())};
       }},
      {"spmm", [](Args& a) -> Operation {
         Spmm op;
         op.weights = a.matrix("weights");
         op.values = a.array<float>("values", op.weights.capacity);
         op.bias = a.optionalArray<float>("bias", op.weights.rows);
         op.input = a.activations("input");
         op.output = a.activations("output");
         op.activation = a.activation();
         return op;
       }},
      {"spmmTransposed", [](Args& a) -> Operation {
         SpmmTransposed op;
         op.weights = a.matrix("weights");
         op.values = a.array<float>("values", op.weights.capacity);
         op.outputGradient = a.activations("outputGradient");
         op.inputGradient = a.activations("inputGradient");
         op.activation = a.activation();
         if (op.activation != Activation::none) op.input = a.activations("input");
         op.accumulate = a.flag("accumulate");
         return op;
       }},
      {"sddmm", [](Args& a) -> Operation {
         Sddmm op;
         op.pattern = a.matrix("pattern");
         op.outputGradient = a.activations("outputGradient");
         op.input = a.activations("input");
         op.gradient = a.array<float>("gradient", op.pattern.capacity);
         op.biasGradient = a.optionalArray<float>("biasGradient", op.pattern.rows);
         op.accumulate = a.flag("accumulate");
         op.accumulateBias = a.has("accumulateBias") ? a.flag("accumulateBias") : op.accumulate;
         return op;
       }},
      {"linear", [](Args& a) -> Operation {
         Linear op;
         op.input = a.activations("input");
         op.output = a.activations("output");
         op.weights = a.array<float>("weights", int64_t{op.input.features} * op.output.features);
         op.bias = a.optionalArray<float>("bias", op.output.features);
         op.activation = a.activation();
         if (a.has("product")) op.product = a.choice<DenseProduct>("product", kDenseProducts);
         return op;
       }},
      {"linearTransposed", [](Args& a) -> Operation {
         LinearTransposed op;
         op.outputGradient = a.activations("outputGradient");
         op.inputGradient = a.activations("inputGradient");
         op.weights = a.array<float>("weights", int64_t{op.inputGradient.features} * op.outputGradient.features);
         op.activation = a.activation();
         if (op.activation != Activation::none) op.input = a.activations("input");
         op.accumulate = a.flag("accumulate");
         if (a.has("product")) op.product = a.choice<DenseProduct>("product", kDenseProducts);
         return op;
       }},
      {"linearGradient", [](Args& a) -> Operation {
         LinearGradient op;
         op.outputGradient = a.activations("outputGradient");
         op.input = a.activations("input");
         op.gradient = a.array<float>("gradient", int64_t{op.input.features} * op.outputGradient.features);
         op.biasGradient = a.optionalArray<float>("biasGradient", op.outputGradient.features);
         op.accumulate = a.flag("accumulate");
         op.accumulateBias = a.has("accumulateBias") ? a.flag("accumulateBias") : op.accumulate;
         if (a.has("product")) op.product = a.choice<DenseProduct>("product", kDenseProducts);
         return op;
       }},
      {"relu", [](Args& a) -> Operation { return Relu{a.activations("input"), a.activations("output")}; }},
      {"reluGradient", [](Args& a) -> Operation {
         return ReluGradient{a.activations("output"), a.activations("outputGradient"), a.activations("inputGradient"), a.flag("accumulate")};
       }},
      {"softmaxCrossEntropy", [](Args& a) -> Operation {
         SoftmaxCrossEntropy op;
         op.logits = a.activations("logits");
         op.targets = a.array<int32_t>("targets", op.logits.capacity);
         op.gradient = a.optionalActivations("gradient");
         op.totals = a.array<LossTotals>("totals", 1);
         op.step = a.program().step();
         return op;
       }},
      {"meanSquaredError", [](Args& a) -> Operation {
         MeanSquaredError op;
         op.output = a.activations("output");
         op.target = a.activations("target");
         op.gradient = a.optionalActivations("gradient");
         op.activation = a.activation();
         op.totals = a.array<LossTotals>("totals", 1);
         op.step = a.program().step();
         return op;
       }},
      {"sgd", [](Args& a) -> Operation {
         Sgd op;
         const Csr links = a.has("pattern") ? a.matrix("pattern") : Csr{};
         op.capacity = links.rows ? links.capacity : a.integer("count", 1);
         op.count = links.rows ? links.rowOffsets + links.rows : nullptr;
         op.rule = a.sgdRule(op.capacity);
         op.gradient = a.array<float>("gradient", op.capacity);
         return op;
       }},
      {"adam", [](Args& a) -> Operation {
         Adam op;
         const Csr links = a.has("pattern") ? a.matrix("pattern") : Csr{};
         op.capacity = links.rows ? links.capacity : a.integer("count", 1);
         op.count = links.rows ? links.rowOffsets + links.rows : nullptr;
         op.values = a.array<float>("values", op.capacity);
         op.gradient = a.array<float>("gradient", op.capacity);
         op.firstMoment = a.array<float>("firstMoment", op.capacity);
         op.secondMoment = a.array<float>("secondMoment", op.capacity);
         op.steps = a.array<float>("steps", op.capacity);
         op.learningRate = a.scalar("learningRate");
         op.beta1 = a.number("beta1", op.beta1);
         op.beta2 = a.number("beta2", op.beta2);
         op.epsilon = a.number("epsilon", op.epsilon);
         op.weightDecay = a.number("weightDecay", op.weightDecay);
         op.decoupled = a.flag("decoupled");
         for (const double beta : {op.beta1, op.beta2}) {
           if (!(beta >= 0 && beta < 1)) fail(a.env(), "Expected beta1 and beta2 to be at least 0 and below 1, got " + std::to_string(beta));
         }
         if (!(static_cast<float>(op.epsilon) > 0)) fail(a.env(), "Expected epsilon to be above 0, got " + std::to_string(op.epsilon));
         return op;
       }},
      {"importance", [](Args& a) -> Operation {
         const Csr links = a.matrix("links");
         Importance op{links, a.array<float>("values", links.capacity), a.array<uint8_t>("keep", links.capacity),
                       a.choice<ImportanceRule>("rule", {{"magnitude", ImportanceRule::magnitude}, {"relative", ImportanceRule::relative}, {"magnitude+gradient", ImportanceRule::gradient}}),
                       a.array<float>("scores", links.capacity)};
         if (op.rule == ImportanceRule::gradient) {
           op.gradient = a.array<float>("gradient", links.capacity);
           op.share = static_cast<float>(a.number("share", 0));
           if (!(op.share >= 0)) fail(a.env(), "Expected share to be at least 0, got " + std::to_string(op.share));
         }
         return op;
       }},
      {"keepLinks", [](Args& a) -> Operation {
         KeepLinks op;
         op.links = a.matrix("links");
         op.scores = a.array<float>("scores", op.links.capacity);
         op.keep = a.array<uint8_t>("keep", op.links.capacity);
         op.count = a.scalar("count");
         op.temperature = a.optionalScalar("temperature");
         op.update = a.scalar("update");
         op.seed = a.seed();
         op.purpose = a.choice<Purpose>("purpose", {{"prune", Purpose::prune}, {"remove", Purpose::remove}});
         op.layer = a.integer("layer", 0);
         return op;
       }},
      {"percolate", [](Args& a) -> Operation {
         Percolate op;
         const Napi::Array layers = a.listOf("layers"), relations = a.listOf("relations");
         for (uint32_t i = 0; i < layers.Length(); ++i) {
           Args layer(a.program(), layers.Get(i).As<Napi::Object>());
           const Csr links = layer.matrix("links");
           op.layers.push_back({links, layer.array<uint8_t>("keep", links.capacity)});
           a.uses.insert(a.uses.end(), layer.uses.begin(), layer.uses.end());
         }
         for (uint32_t i = 0; i < relations.Length(); ++i) {
           Args relation(a.program(), relations.Get(i).As<Napi::Object>());
           const LayerRelation r{relation.integer("first", 0), relation.integer("second", 0),
                                 relation.choice<LayerRelation::Kind>("kind", {{"consecutive", LayerRelation::Kind::consecutive}, {"joint", LayerRelation::Kind::joint}})};
           const auto count = static_cast<int32_t>(op.layers.size());
           if (r.first >= count || r.second >= count) fail(a.env(), "Expected relations between the layers given");
           op.relations.push_back(r);
         }
         return op;
       }},
      {"regrow", [](Args& a) -> Operation {
         Regrow op;
         op.links = a.matrix("links");
         op.changes = a.changes(op.links);
         op.predictor = a.choice<LinkPredictor>("predictor", kPredictors);
         op.selection = a.choice<Selection>("selection", {{"sample", Selection::sample}, {"largest", Selection::largest}});
         if (a.has("route")) op.route = a.choice<PredictionRoute>("route", kRoutes);
         op.count = a.scalar("count");
         op.update = a.scalar("update");
         op.seed = a.seed();
         op.layer = a.integer("layer", 0);
         return op;
       }},
      {"regrowByGradient", [](Args& a) -> Operation {
         RegrowByGradient op;
         op.links = a.matrix("links");
         op.changes = a.changes(op.links);
         op.input = a.activations("input");
         op.outputGradient = a.activations("outputGradient");
         op.count = a.scalar("count");
         op.update = a.scalar("update");
         op.seed = a.seed();
         op.layer = a.integer("layer", 0);
         return op;
       }},
      {"openPool", [](Args& a) -> Operation {
         const Csr links = a.matrix("links");
         return OpenPool{links, a.array<float>("values", links.capacity), a.pool()};
       }},
      {"chooseFromPool", [](Args& a) -> Operation {
         const Csr links = a.matrix("links");
         return ChooseFromPool{links, a.changes(links), a.pool()};
       }},
      {"restoreWeights", [](Args& a) -> Operation {
         const Csr links = a.matrix("links");
         return RestoreWeights{links, a.array<float>("values", links.capacity), a.pool()};
       }},
      {"beginUpdate", [](Args& a) -> Operation {
         const Csr links = a.matrix("links");
         return BeginUpdate{links, a.changes(links)};
       }},
      {"rebuild", [](Args& a) -> Operation {
         const Csr links = a.matrix("links");
         return Rebuild{links, a.changes(links), a.arrays<float>("arrays", links.capacity)};
       }},
      {"uniteLinks", [](Args& a) -> Operation {
         const Csr links = a.matrix("links");
         const int64_t capacity = a.integer("capacity", 1);
         return UniteLinks{links, a.array<uint64_t>("ever", capacity), a.array<int64_t>("count", 1), capacity};
       }},
      {"returnedLinks", [](Args& a) -> Operation {
         const Csr links = a.matrix("links");
         return ReturnedLinks{links, a.changes(links), a.array<int32_t>("counts", 2)};
       }},
      {"activeNeurons", [](Args& a) -> Operation {
         const Csr links = a.matrix("links");
         return ActiveNeurons{links, a.array<int32_t>("counts", 3)};
       }},
      {"initializeNormal", [](Args& a) -> Operation {
         InitializeNormal op;
         if (a.has("pattern")) op.pattern = a.matrix("pattern");
         else op.pattern.rows = a.integer("rows", 1), op.pattern.cols = a.integer("cols", 1);
         op.values = a.array<float>("values", a.has("pattern") ? op.pattern.capacity : int64_t{op.pattern.rows} * op.pattern.cols);
         op.deviation = a.number("deviation", 1);
         op.seed = a.seed();
         op.layer = a.integer("layer", 0);
         return op;
       }},
  };
  return all;
}

Napi::Value resultOf(Napi::Env env, const HostCsr& csr) {
  Napi::Object result = Napi::Object::New(env);
  const auto array = [&](const std::vector<int32_t>& from) {
    Napi::Int32Array to = Napi::Int32Array::New(env, from.size());
    std::copy(from.begin(), from.end(), to.Data());
    return to;
  };
  result.Set("rowOffsets", array(csr.rowOffsets));
  result.Set("columnIndices", array(csr.columnIndices));
  return result;
}

Napi::Value resultOf(Napi::Env env, const LinkScores& scores) {
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

// predictLinks(rows, cols, rowOffsets, columnIndices, predictor, route)
Napi::Value predictLinks(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::shared_ptr<Device> device;
  check(env, Addon::of(env).immediate(&device));
  const Napi::Int32Array offsets = int32ArrayOf(info[2], "rowOffsets"), indices = int32ArrayOf(info[3], "columnIndices");
  std::shared_ptr<SparseMatrix> matrix;
  check(env, SparseMatrix::create(device, int32Of(info[0], "rows", 1), int32Of(info[1], "cols", 1), static_cast<int32_t>(indices.ElementLength()), offsets.Data(),
                                  offsets.ElementLength(), indices.Data(), indices.ElementLength(), &matrix));
  LinkScores scores;
  check(env, device->run(PredictLinks{matrix->csr(), Args::choiceOf(info[4], "the link predictor", kPredictors), &scores, Args::choiceOf(info[5], "the route", kRoutes)}));
  return resultOf(env, scores);
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

// brf(rows, cols, links, randomness, uniformDegrees, seed, layer)
Napi::Value brf(const Napi::CallbackInfo& info) {
  HostCsr csr;
  BrfOptions options;
  options.randomness = info[3].ToNumber().DoubleValue();
  options.uniformDegrees = info[4].ToBoolean();
  check(info.Env(), bipartiteReceptiveField(int32Of(info[0], "rows", 1), int32Of(info[1], "cols", 1), integerOf(info[2], "links", 0), options,
                                            static_cast<uint64_t>(integerOf(info[5], "seed", 0)), int32Of(info[6], "layer", 0), &csr));
  return resultOf(info.Env(), csr);
}

// erdosRenyi(rows, cols, links, seed, layer)
Napi::Value erdosRenyiNetwork(const Napi::CallbackInfo& info) {
  HostCsr csr;
  check(info.Env(), erdosRenyi(int32Of(info[0], "rows", 1), int32Of(info[1], "cols", 1), integerOf(info[2], "links", 0),
                               static_cast<uint64_t>(integerOf(info[3], "seed", 0)), int32Of(info[4], "layer", 0), &csr));
  return resultOf(info.Env(), csr);
}

// bsw(rows, cols, links, beta, seed, layer)
Napi::Value bsw(const Napi::CallbackInfo& info) {
  HostCsr csr;
  check(info.Env(), bipartiteSmallWorld(int32Of(info[0], "rows", 1), int32Of(info[1], "cols", 1), integerOf(info[2], "links", 0), info[3].ToNumber().DoubleValue(),
                                        static_cast<uint64_t>(integerOf(info[4], "seed", 0)), int32Of(info[5], "layer", 0), &csr));
  return resultOf(info.Env(), csr);
}

// bsf(rows, cols, links, seed, layer)
Napi::Value bsf(const Napi::CallbackInfo& info) {
  HostCsr csr;
  check(info.Env(), bipartiteScaleFree(int32Of(info[0], "rows", 1), int32Of(info[1], "cols", 1), integerOf(info[2], "links", 0),
                                       static_cast<uint64_t>(integerOf(info[3], "seed", 0)), int32Of(info[4], "layer", 0), &csr));
  return resultOf(info.Env(), csr);
}

// featureCorrelations(): an object for csti() and strongestPairs(), which keeps what they find in one data set.
Napi::Value featureCorrelations(const Napi::CallbackInfo& info) {
  using Shared = std::shared_ptr<FeatureCorrelations>;
  auto external = Napi::External<Shared>::New(info.Env(), new Shared(std::make_shared<FeatureCorrelations>()), [](Napi::BasicEnv, Shared* shared) { delete shared; });
  external.TypeTag(&kCorrelationsTag);
  return external;
}

// csti(correlations, x, features, rows, cols, links, seed, layer)
Napi::Value csti(const Napi::CallbackInfo& info) {
  const FeatureSamples data = featureSamplesOf(info[1], info[2]);
  const int32_t rows = int32Of(info[3], "rows", 1), cols = int32Of(info[4], "cols", 1), layer = int32Of(info[7], "layer", 0);
  const int64_t links = integerOf(info[5], "links", 0);
  const auto seed = static_cast<uint64_t>(integerOf(info[6], "seed", 0));
  std::shared_ptr<const std::vector<FeaturePair>> pairs;
  check(info.Env(), correlationsOf(info[0])->strongest(data, pairsOf(rows, cols, links, data.features), &pairs));
  HostCsr csr;
  check(info.Env(), correlatedSparse(rows, cols, links, data.features, *pairs, seed, layer, &csr));
  return resultOf(info.Env(), csr);
}

// strongestPairs(x, features, count): { first, second, correlation }
Napi::Value strongestFeaturePairs(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::vector<FeaturePair> pairs;
  check(env, strongestPairs(featureSamplesOf(info[0], info[1]), integerOf(info[2], "count", 0), &pairs));
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

Napi::Value resultOf(Napi::Env env, const std::vector<LayerDescription>& layers) {
  const auto degrees = [&](const DegreeCounts& counts) {
    auto degree = Napi::Int32Array::New(env, counts.degrees.size()), neurons = Napi::Int32Array::New(env, counts.neurons.size());
    std::copy(counts.degrees.begin(), counts.degrees.end(), degree.Data());
    std::copy(counts.neurons.begin(), counts.neurons.end(), neurons.Data());
    Napi::Object result = Napi::Object::New(env);
    result.Set("degrees", degree);
    result.Set("neurons", neurons);
    return result;
  };
  const auto estimate = [&](const Estimate& e) {
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
Status describe(const std::vector<std::shared_ptr<SparseMatrix>>& matrices, const std::vector<bool>& follows, const DescribeOptions& options,
                std::vector<LayerDescription>* out, const std::atomic<bool>* stop) {
  std::vector<DescribedLayer> layers(matrices.size());
  for (size_t l = 0; l < matrices.size(); ++l) {
    HEBB_RETURN_IF_ERROR(matrices[l]->read(&layers[l].links));
    layers[l].rows = matrices[l]->csr().rows;
    layers[l].cols = matrices[l]->csr().cols;
    layers[l].follows = follows[l];
  }
  return describeTopology(layers, options, out, stop);
}

std::vector<bool> followsOf(Napi::Value value, uint32_t count) {
  if (!value.IsArray() || value.As<Napi::Array>().Length() != count) fail(value.Env(), "Expected follows to be a list, one entry a layer");
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
    matrices.push_back(unwrap<MatrixHandle>(list.Get(l), Addon::of(env).matrixClass, "sparse matrix")->get(env, "sparse matrix"));
    if (matrices.back()->device() != matrices.front()->device()) fail(env, "Expected sparse matrices on one device");
  }
  const std::vector<bool> follows = followsOf(info[1], list.Length());
  DescribeOptions options;
  options.exactUpTo = integerOf(info[2], "exactUpTo", 0);
  options.seed = static_cast<uint64_t>(integerOf(info[3], "seed", 0));
  auto layers = std::make_shared<std::vector<LayerDescription>>();
  const std::shared_ptr<Device> device = matrices.front()->device();
  return Addon::of(env).promise(
      device,
      [=]() -> Status {
        const Status status = describe(matrices, follows, options, layers.get(), &device->backend().stop);
        return !status.ok() && device->closing() ? Status{Code::disposed, "the device was disposed while the topology was described"} : status;
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
    const Napi::Int32Array offsets = int32ArrayOf(layer.Get("rowOffsets"), "rowOffsets"), indices = int32ArrayOf(layer.Get("columnIndices"), "columnIndices");
    check(env, SparseMatrix::create(device, int32Of(layer.Get("rows"), "rows", 1), int32Of(layer.Get("cols"), "cols", 1), static_cast<int32_t>(indices.ElementLength()),
                                    offsets.Data(), offsets.ElementLength(), indices.Data(), indices.ElementLength(), &matrices[l]));
  }
  DescribeOptions options;
  options.exactUpTo = integerOf(info[2], "exactUpTo", 0);
  options.seed = static_cast<uint64_t>(integerOf(info[3], "seed", 0));
  std::vector<LayerDescription> layers;
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

Napi::Value setErrorClass(const Napi::CallbackInfo& info) {
  Addon::of(info.Env()).errorClass = Napi::Persistent(info[0].As<Napi::Function>());
  return info.Env().Undefined();
}

}  // namespace

void recordOperation(Program& program, const std::string& name, Napi::Object object) {
  const auto maker = makers().find(name);
  if (maker == makers().end()) fail(object.Env(), "Expected the name of an operation, got '" + name + "'");
  Args args(program, object);
  Operation operation = maker->second(args);
  check(object.Env(), program.record(std::move(operation), std::move(args.uses)));
}

// predictLinks(predictor, route)
Napi::Value MatrixHandle::predictLinks(const Napi::CallbackInfo& info) {
  const std::shared_ptr<SparseMatrix> matrix = get(info.Env(), "sparse matrix");
  auto scores = std::make_shared<LinkScores>();
  const PredictLinks op{matrix->csr(), Args::choiceOf(info[0], "the link predictor", kPredictors), scores.get(), Args::choiceOf(info[1], "the route", kRoutes)};
  return Addon::of(info.Env()).promise(
      matrix->device(), [=] { return matrix->device()->run(op); }, [=](Napi::Env env) -> Napi::Value { return resultOf(env, *scores); });
}

void defineFunctions(Napi::Env env, Napi::Object exports) {
  exports.Set("predictLinks", Napi::Function::New<predictLinks>(env, "predictLinks"));
  exports.Set("sampleWithoutReplacement", Napi::Function::New<sampleWithoutReplacement>(env, "sampleWithoutReplacement"));
  exports.Set("brf", Napi::Function::New<brf>(env, "brf"));
  exports.Set("erdosRenyi", Napi::Function::New<erdosRenyiNetwork>(env, "erdosRenyi"));
  exports.Set("bsw", Napi::Function::New<bsw>(env, "bsw"));
  exports.Set("bsf", Napi::Function::New<bsf>(env, "bsf"));
  exports.Set("featureCorrelations", Napi::Function::New<featureCorrelations>(env, "featureCorrelations"));
  exports.Set("csti", Napi::Function::New<csti>(env, "csti"));
  exports.Set("strongestPairs", Napi::Function::New<strongestFeaturePairs>(env, "strongestPairs"));
  exports.Set("describeMatrices", Napi::Function::New<describeMatrices>(env, "describeMatrices"));
  exports.Set("describeLinks", Napi::Function::New<describeLinks>(env, "describeLinks"));
  exports.Set("cudaStatus", Napi::Function::New<cudaStatus>(env, "cudaStatus"));
  exports.Set("cublasStatus", Napi::Function::New<cublasStatus>(env, "cublasStatus"));
  exports.Set("setErrorClass", Napi::Function::New<setErrorClass>(env, "setErrorClass"));
}

}  // namespace hebb::binding
