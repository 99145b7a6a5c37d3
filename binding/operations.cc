// Turns { name, args } into an operation: one entry an operation, in the order of hebb/operations.h.
#include <map>

#include "addon.h"

namespace hebb::binding {

Activations activationsOf(Napi::Value value, const char* what, const std::shared_ptr<Device>& device,
                          std::vector<std::shared_ptr<Buffer>>* uses) {
  const Napi::Env env = value.Env();
  if (!value.IsObject() || value.As<Napi::Object>().InstanceOf(Addon::of(env).bufferClass.Value()))
    fail(env, std::string("Expected ") + what + " to be activations");
  const Napi::Object object = value.As<Napi::Object>();
  Activations a;
  a.features = int32Of(object.Get("features"), "features", 1);
  a.capacity = int32Of(object.Get("capacity"), "capacity", 1);
  a.panel = device->backend().panel(a.capacity);
  const auto& buffer =
      unwrap<BufferHandle>(object.Get("buffer"), Addon::of(env).bufferClass, "buffer")->get(env, "buffer");
  if (buffer->device() != device) fail(env, std::string("Expected ") + what + " to be on the program's device");
  if (static_cast<int64_t>(buffer->bytes()) < int64_t{a.panels()} * a.panel * a.features * 4)
    fail(env, std::string("Expected ") + what + " to have a buffer large enough for its shape");
  a.data = buffer->data<float>();
  uses->push_back(buffer);
  return a;
}

LinkPredictor predictorOf(Napi::Value value, const char* what) {
  return choiceOf<LinkPredictor>(value, what,
                                 {{"none", LinkPredictor::none},
                                  {"CH2-L3n", LinkPredictor::ch2L3n},
                                  {"CH3-L3n", LinkPredictor::ch3L3n},
                                  {"CH2-L3p", LinkPredictor::ch2L3p},
                                  {"CH3-L3p", LinkPredictor::ch3L3p}});
}

PredictionRoute routeOf(Napi::Value value, const char* what) {
  return choiceOf<PredictionRoute>(
      value, what,
      {{"auto", PredictionRoute::automatic}, {"sparse", PredictionRoute::sparse}, {"dense", PredictionRoute::dense}});
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
    const auto& matrix = unwrap<MatrixHandle>(object_.Get(name), Addon::of(env()).matrixClass, "sparse matrix")
                             ->get(env(), "sparse matrix");
    if (matrix->device() != program_.device())
      fail(env(), std::string("Expected ") + name + " to be on the program's device");
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
      fail(env(), std::string("Expected ") + name + " to have room for the program's batch of " +
                      std::to_string(program_.batch()) + " columns, got " + std::to_string(a.capacity));
    }
    a.columns = program_.columns();
    return a;
  }
  Activations optionalActivations(const char* name) { return has(name) ? activations(name) : Activations{}; }
  const double* scalar(const char* name) {
    const int32_t index = integer(name, 0);
    if (index >= program_.scalarCount())
      fail(env(), std::string("Expected ") + name + " to be one of the program's scalars");
    return program_.scalar(index);
  }
  const double* optionalScalar(const char* name) { return has(name) ? scalar(name) : nullptr; }
  double number(const char* name, double otherwise) {
    return has(name) ? numberOf(object_.Get(name), name, -1e300, 1e300) : otherwise;
  }
  int32_t integer(const char* name, int32_t least) { return int32Of(object_.Get(name), name, least); }
  uint64_t seed() { return static_cast<uint64_t>(integerOf(object_.Get("seed"), "seed", 0)); }
  bool flag(const char* name) { return object_.Get(name).ToBoolean(); }
  template <class E>
  E choice(const char* name, std::initializer_list<std::pair<const char*, E>> choices) {
    return choiceOf<E>(object_.Get(name), name, choices);
  }
  LinkPredictor predictor() { return predictorOf(object_.Get("predictor"), "predictor"); }
  PredictionRoute route() { return routeOf(object_.Get("route"), "route"); }
  Activation activation() {
    return has("activation")
               ? choice<Activation>("activation", {{"none", Activation::none}, {"relu", Activation::relu}})
               : Activation::none;
  }
  LinkChanges changes(const Csr& links) {
    Args inner(program_, objectOf("changes"));
    LinkChanges c{inner.array<uint8_t>("keep", links.capacity), inner.array<int32_t>("newRows", links.capacity),
                  inner.array<int32_t>("newColumns", links.capacity), inner.array<int32_t>("newCount", 1)};
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
    Augmentation a{inner.integer("height", 1), inner.integer("width", 1), inner.integer("padding", 0),
                   inner.flag("flip"), inner.seed()};
    if (int64_t{a.height} * a.width != plane)
      fail(env(), "Expected images of " + std::to_string(plane) + " pixels, got " + std::to_string(a.height) + " x " +
                      std::to_string(a.width));
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

 private:
  template <class T>
  T* element(Napi::Value value, const char* name, int64_t count) {
    const BufferHandle* handle =
        unwrap<BufferHandle>(value, Addon::of(env()).bufferClass, (std::string("tensor for ") + name).c_str());
    const auto& buffer = handle->get(env(), "tensor");
    if (handle->type() != kElementType<T>)
      fail(env(), std::string("Expected ") + name + " to be a tensor of " + nameOf(kElementType<T>) + ", got one of " +
                      nameOf(handle->type()));
    if (buffer->device() != program_.device())
      fail(env(), std::string("Expected ") + name + " to be on the program's device");
    if (static_cast<int64_t>(buffer->bytes() / sizeof(T)) < count)
      fail(env(), std::string("Expected ") + name + " to hold at least " + std::to_string(count) + " elements, got " +
                      std::to_string(buffer->bytes() / sizeof(T)));
    uses.push_back(buffer);
    return buffer->data<T>();
  }

  Program& program_;
  Napi::Object object_;
};

const std::initializer_list<std::pair<const char*, DenseProduct>> kDenseProducts = {
    {"auto", DenseProduct::automatic}, {"fma", DenseProduct::fma}, {"tensorCores", DenseProduct::tensorCores}};

StepState* streamOf(Args& a) { return a.program().state(); }

using Maker = Operation (*)(Args&);

const std::map<std::string, Maker>& makers() {
  static const std::map<std::string, Maker> all = {
      {"permute",
       [](Args& a) -> Operation {
         const int32_t count = a.integer("count", 1);
         return Permute{a.array<int32_t>("indices", count), count, a.seed(), a.optionalScalar("epoch"),
                        a.flag("identity")};
       }},
      {"gather",
       [](Args& a) -> Operation {
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
         if (op.output.features % op.channels != 0)
           fail(a.env(), "Expected features of " + std::to_string(op.channels) + " channels, got " +
                             std::to_string(op.output.features));
         op.scales = a.optionalArray<float>("scales", op.channels);
         op.shifts = a.optionalArray<float>("shifts", op.channels);
         if (!op.scales != !op.shifts) fail(a.env(), "Expected scales and shifts, or none of them");
         if (a.has("augmentation")) op.augmentation = a.augmentation(op.output.features / op.channels);
         return op;
       }},
      {"gatherLabels",
       [](Args& a) -> Operation {
         const int32_t count = a.integer("count", 1);
         const int32_t samples = a.integer("samples", 1);
         return GatherLabels{a.array<int32_t>("labels", samples),
                             samples,
                             a.array<int32_t>("indices", count),
                             count,
                             streamOf(a),
                             a.array<int32_t>("targets", a.program().batch())};
       }},
      {"spmm",
       [](Args& a) -> Operation {
         Spmm op;
         op.weights = a.matrix("weights");
         op.values = a.array<float>("values", op.weights.capacity);
         op.bias = a.optionalArray<float>("bias", op.weights.rows);
         op.input = a.activations("input");
         op.output = a.activations("output");
         op.activation = a.activation();
         return op;
       }},
      {"spmmTransposed",
       [](Args& a) -> Operation {
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
      {"sddmm",
       [](Args& a) -> Operation {
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
      {"linear",
       [](Args& a) -> Operation {
         Linear op;
         op.input = a.activations("input");
         op.output = a.activations("output");
         op.weights = a.array<float>("weights", int64_t{op.input.features} * op.output.features);
         op.bias = a.optionalArray<float>("bias", op.output.features);
         op.activation = a.activation();
         if (a.has("product")) op.product = a.choice<DenseProduct>("product", kDenseProducts);
         return op;
       }},
      {"linearTransposed",
       [](Args& a) -> Operation {
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
      {"linearGradient",
       [](Args& a) -> Operation {
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
      {"reluGradient",
       [](Args& a) -> Operation {
         return ReluGradient{a.activations("output"), a.activations("outputGradient"), a.activations("inputGradient"),
                             a.flag("accumulate")};
       }},
      {"softmaxCrossEntropy",
       [](Args& a) -> Operation {
         SoftmaxCrossEntropy op;
         op.logits = a.activations("logits");
         op.targets = a.array<int32_t>("targets", op.logits.capacity);
         op.gradient = a.optionalActivations("gradient");
         op.totals = a.array<LossTotals>("totals", 1);
         op.step = a.program().step();
         return op;
       }},
      {"meanSquaredError",
       [](Args& a) -> Operation {
         MeanSquaredError op;
         op.output = a.activations("output");
         op.target = a.activations("target");
         op.gradient = a.optionalActivations("gradient");
         op.activation = a.activation();
         op.totals = a.array<LossTotals>("totals", 1);
         op.step = a.program().step();
         return op;
       }},
      {"sgd",
       [](Args& a) -> Operation {
         Sgd op;
         const Csr links = a.has("pattern") ? a.matrix("pattern") : Csr{};
         op.capacity = links.rows ? links.capacity : a.integer("count", 1);
         op.count = links.rows ? links.rowOffsets + links.rows : nullptr;
         op.rule = a.sgdRule(op.capacity);
         op.gradient = a.array<float>("gradient", op.capacity);
         return op;
       }},
      {"adam",
       [](Args& a) -> Operation {
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
           if (!(beta >= 0 && beta < 1))
             fail(a.env(), "Expected beta1 and beta2 to be at least 0 and below 1, got " + std::to_string(beta));
         }
         if (!(static_cast<float>(op.epsilon) > 0))
           fail(a.env(), "Expected epsilon to be above 0, got " + std::to_string(op.epsilon));
         return op;
       }},
      {"importance",
       [](Args& a) -> Operation {
         const Csr links = a.matrix("links");
         Importance op{links, a.array<float>("values", links.capacity), a.array<uint8_t>("keep", links.capacity),
                       a.choice<ImportanceRule>("rule", {{"magnitude", ImportanceRule::magnitude},
                                                         {"relative", ImportanceRule::relative},
                                                         {"magnitude+gradient", ImportanceRule::gradient}}),
                       a.array<float>("scores", links.capacity)};
         if (op.rule == ImportanceRule::gradient) {
           op.gradient = a.array<float>("gradient", links.capacity);
           op.share = static_cast<float>(a.number("share", 0));
           if (!(op.share >= 0)) fail(a.env(), "Expected share to be at least 0, got " + std::to_string(op.share));
         }
         return op;
       }},
      {"keepLinks",
       [](Args& a) -> Operation {
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
      {"percolate",
       [](Args& a) -> Operation {
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
           const LayerRelation r{
               relation.integer("first", 0), relation.integer("second", 0),
               relation.choice<LayerRelation::Kind>(
                   "kind", {{"consecutive", LayerRelation::Kind::consecutive}, {"joint", LayerRelation::Kind::joint}})};
           const auto count = static_cast<int32_t>(op.layers.size());
           if (r.first >= count || r.second >= count) fail(a.env(), "Expected relations between the layers given");
           op.relations.push_back(r);
         }
         return op;
       }},
      {"regrow",
       [](Args& a) -> Operation {
         Regrow op;
         op.links = a.matrix("links");
         op.changes = a.changes(op.links);
         op.predictor = a.predictor();
         op.selection =
             a.choice<Selection>("selection", {{"sample", Selection::sample}, {"largest", Selection::largest}});
         if (a.has("route")) op.route = a.route();
         op.count = a.scalar("count");
         op.update = a.scalar("update");
         op.seed = a.seed();
         op.layer = a.integer("layer", 0);
         return op;
       }},
      {"regrowByGradient",
       [](Args& a) -> Operation {
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
      {"openPool",
       [](Args& a) -> Operation {
         const Csr links = a.matrix("links");
         return OpenPool{links, a.array<float>("values", links.capacity), a.pool()};
       }},
      {"chooseFromPool",
       [](Args& a) -> Operation {
         const Csr links = a.matrix("links");
         return ChooseFromPool{links, a.changes(links), a.pool()};
       }},
      {"restoreWeights",
       [](Args& a) -> Operation {
         const Csr links = a.matrix("links");
         return RestoreWeights{links, a.array<float>("values", links.capacity), a.pool()};
       }},
      {"beginUpdate",
       [](Args& a) -> Operation {
         const Csr links = a.matrix("links");
         return BeginUpdate{links, a.changes(links)};
       }},
      {"rebuild",
       [](Args& a) -> Operation {
         const Csr links = a.matrix("links");
         return Rebuild{links, a.changes(links), a.arrays<float>("arrays", links.capacity)};
       }},
      {"uniteLinks",
       [](Args& a) -> Operation {
         const Csr links = a.matrix("links");
         const int64_t capacity = a.integer("capacity", 1);
         return UniteLinks{links, a.array<uint64_t>("ever", capacity), a.array<int64_t>("count", 1), capacity};
       }},
      {"returnedLinks",
       [](Args& a) -> Operation {
         const Csr links = a.matrix("links");
         return ReturnedLinks{links, a.changes(links), a.array<int32_t>("counts", 2)};
       }},
      {"activeNeurons",
       [](Args& a) -> Operation {
         const Csr links = a.matrix("links");
         return ActiveNeurons{links, a.array<int32_t>("counts", 3)};
       }},
      {"initializeNormal",
       [](Args& a) -> Operation {
         InitializeNormal op;
         if (a.has("pattern")) op.pattern = a.matrix("pattern");
         else op.pattern.rows = a.integer("rows", 1), op.pattern.cols = a.integer("cols", 1);
         op.values = a.array<float>(
             "values", a.has("pattern") ? op.pattern.capacity : int64_t{op.pattern.rows} * op.pattern.cols);
         op.deviation = a.number("deviation", 1);
         op.seed = a.seed();
         op.layer = a.integer("layer", 0);
         return op;
       }},
  };
  return all;
}

}  // namespace

void recordOperation(Program& program, const std::string& name, Napi::Object object) {
  const auto maker = makers().find(name);
  if (maker == makers().end()) fail(object.Env(), "Expected the name of an operation, got '" + name + "'");
  Args args(program, object);
  Operation operation = maker->second(args);
  check(object.Env(), program.record(std::move(operation), std::move(args.uses)));
}

}  // namespace hebb::binding
