#include "program.h"

#include <algorithm>

namespace hebb {

Status Program::create(const std::shared_ptr<Device>& device, int32_t scalars, int32_t batch,
                       std::shared_ptr<Program>* out) {
  if (scalars < 1 || batch < 1)
    return {Code::invalidArgument, "Expected at least one scalar and a batch of at least 1"};
  std::shared_ptr<Program> program(new Program(device, scalars, batch));
  HEBB_RETURN_IF_ERROR(device->allocate(sizeof(StepState), &program->state_));
  HEBB_RETURN_IF_ERROR(device->allocate(sizeof(double) * static_cast<size_t>(scalars), &program->scalars_));
  HEBB_RETURN_IF_ERROR(device->allocate(sizeof(double) * static_cast<size_t>(scalars), &program->table_));
  StepState state;
  state.batch = batch;
  state.columns = batch;
  HEBB_RETURN_IF_ERROR(device->backend().write(program->state_->data(), &state, sizeof state));
  *out = std::move(program);
  return {};
}

Status Program::record(Operation operation, std::vector<std::shared_ptr<Buffer>> uses) {
  if (!supports(device_->backend().operations(), operation)) {
    return {Code::unsupported, std::string("Expected a device with the operation '") + nameOf(operation) + "', got '" +
                                   device_->info().kind + "', which does not have it yet. Use device 'cpu'."};
  }
  if (device_->closing()) return {Code::disposed, "Expected a device that is in use, got one that was disposed"};
  HEBB_RETURN_IF_ERROR(checkOperands(operation));
  if (const auto* gather = std::get_if<Gather>(&operation)) longestStream_ = std::min(longestStream_, gather->count);
  if (const auto* labels = std::get_if<GatherLabels>(&operation))
    longestStream_ = std::min(longestStream_, labels->count);
  recorded_.push_back(std::move(operation));
  uses_.insert(uses_.end(), uses.begin(), uses.end());
  fresh_ = false;
  return {};
}

Status Program::setScalars(const std::vector<double>& table) {
  if (table.empty() || table.size() % static_cast<size_t>(width_) != 0) {
    return {Code::invalidArgument, "Expected rows of " + std::to_string(width_) + " scalars, got " +
                                       std::to_string(table.size()) + " numbers"};
  }
  const size_t bytes = table.size() * sizeof(double);
  if (bytes > table_->bytes()) {
    HEBB_RETURN_IF_ERROR(device_->allocate(bytes, &table_));
    fresh_ = false;
  }
  tableRows_ = static_cast<int64_t>(table.size()) / width_;
  Backend& backend = device_->backend();
  HEBB_RETURN_IF_ERROR(backend.write(table_->data(), table.data(), bytes));
  StepState state;
  HEBB_RETURN_IF_ERROR(backend.read(&state, state_->data(), sizeof state));
  state.firstStep = state.step + 1;
  state.rows = tableRows_;
  return backend.write(state_->data(), &state, sizeof state);
}

Status Program::rewind(int64_t samples, int32_t columns, int64_t next) {
  Backend& backend = device_->backend();
  StepState state;
  HEBB_RETURN_IF_ERROR(backend.read(&state, state_->data(), sizeof state));
  if (columns < 0 || columns > state.batch) {
    return {Code::invalidArgument,
            "Expected at most " + std::to_string(state.batch) + " columns, got " + std::to_string(columns)};
  }
  if (samples > longestStream_) {
    return {Code::invalidArgument, "Expected a stream of at most " + std::to_string(longestStream_) +
                                       " samples, the indices that gather was given, got " + std::to_string(samples)};
  }
  if (next < 0 || (next > 0 && next >= samples)) {
    return {Code::invalidArgument,
            "Expected the next sample to be one of " + std::to_string(samples) + ", got " + std::to_string(next)};
  }
  samples_ = state.samples = samples;
  state.next = next;
  state.offset = 0;
  state.columns = columns ? columns : state.batch;
  return backend.write(state_->data(), &state, sizeof state);
}

Status Program::setStep(int64_t step) {
  Backend& backend = device_->backend();
  StepState state;
  HEBB_RETURN_IF_ERROR(backend.read(&state, state_->data(), sizeof state));
  state.step = step - 1;
  state.firstStep = step;
  done_ = step;
  return backend.write(state_->data(), &state, sizeof state);
}

void Program::abort() {
  std::lock_guard lock(mutex_);
  aborted_ = asked_.load();
  if (running_) device_->setStop(true);
}

namespace {

/// Whether the operation changes what outlives its step. The others write activations, and flags and candidates of an
/// update that is open.
bool lasts(const Operation& operation) {
  return std::visit(
      [](const auto& op) {
        using T = std::decay_t<decltype(op)>;
        return !(std::is_same_v<T, Advance> || std::is_same_v<T, Gather> || std::is_same_v<T, GatherLabels> ||
                 std::is_same_v<T, Spmm> || std::is_same_v<T, Linear> || std::is_same_v<T, Relu> ||
                 std::is_same_v<T, BeginUpdate> || std::is_same_v<T, Importance> || std::is_same_v<T, KeepLinks> ||
                 std::is_same_v<T, Percolate> || std::is_same_v<T, Regrow>);
      },
      operation);
}

}  // namespace

Status Program::instantiate() {
  if (fresh_) return {};
  bound_ = fuse(recorded_);
  bound_.insert(bound_.begin(), Advance{state(), table_->data<double>(), scalars_->data<double>(), width_});
  recording_.reset();
  settled_ = false;
  lasting_ = static_cast<size_t>(std::find_if(bound_.begin(), bound_.end(), lasts) - bound_.begin());
  fresh_ = true;
  return {};
}

Status Program::runStep(uint64_t ticket, bool* begun) {
  if (recording_) {
    if (stopped(ticket)) return {Code::aborted, ""};
    return recording_->run();
  }
  Status status;
  for (size_t i = 0; i < bound_.size() && status.ok(); ++i) {
    // What lasts is changed by the whole step or not at all.
    if (i <= lasting_ && stopped(ticket)) return {Code::aborted, ""};
    if (status = device_->run(bound_[i]); !status.ok())
      status = {status.code(), std::string(nameOf(bound_[i])) + ": " + status.message()};
    *begun = *begun || status.ok();
  }
  return status;
}

/// The step that the device stands at was begun and not done: the next one has its number and its samples.
Status Program::undoStep() {
  Backend& backend = device_->backend();
  StepState state;
  HEBB_RETURN_IF_ERROR(backend.read(&state, state_->data(), sizeof state));
  done_ = state.step;  // a device that queues steps may have stopped at an earlier one than was queued last
  state.step -= 1;
  if (state.samples > 0) state.next = state.offset;
  return backend.write(state_->data(), &state, sizeof state);
}

Status Program::replay(int64_t steps, uint64_t ticket) {
  // Without a stream, the first columns are read again and again.
  const int64_t read = samples_ > 0 ? samples_ : batch_;
  if (read > longestStream_) {
    return {Code::invalidArgument, "Expected a program that gathers to read at most " + std::to_string(longestStream_) +
                                       " indices, got " + std::to_string(read)};
  }
  HEBB_RETURN_IF_ERROR(instantiate());
  {
    std::lock_guard lock(mutex_);
    running_ = true;
    device_->setStop(stopped(ticket));
  }
  Status status;
  const int64_t before = done_;
  bool begun = false;  // a step that is not done
  for (int64_t step = 0; step < steps && status.ok(); ++step) {
    if (status = runStep(ticket, &begun); !status.ok()) break;
    ++done_;
    begun = false;
    if (settled_) continue;
    settled_ = true;
    status = device_->backend().record(
        [this] {
          Status queued;
          for (size_t i = 0; i < bound_.size() && queued.ok(); ++i) queued = device_->run(bound_[i]);
          return queued;
        },
        &recording_);
  }
  // A device may still be at work on what was queued. What failed there failed before what stopped the queueing.
  if (Status end = device_->backend().synchronize(); !end.ok()) {
    status = std::move(end);
    begun = true;
  }
  if (begun) {
    if (Status undo = undoStep(); !undo.ok() && status.code() == Code::aborted) status = std::move(undo);
  }
  {
    std::lock_guard lock(mutex_);
    running_ = false;
    device_->setStop(false);
  }
  if (status.code() != Code::aborted) return status;
  const std::string progress = "after " + std::to_string(done_ - before) + " of " + std::to_string(steps) + " steps";
  return device_->closing() ? Status{Code::disposed, "the device was disposed " + progress}
                            : Status{Code::aborted, "stopped " + progress};
}

namespace {

Status mismatch(const char* what, int64_t expected, int64_t got) {
  return {Code::invalidArgument,
          std::string("Expected ") + what + " to be " + std::to_string(expected) + ", got " + std::to_string(got)};
}

/// Two activations that an operation walks through together.
Status sameBatch(const Activations& a, const Activations& b) {
  if (a.capacity != b.capacity || a.panel != b.panel) return mismatch("the batch capacity", a.capacity, b.capacity);
  return {};
}

Status product(int32_t rows, int32_t cols, const Activations& rowSide, const Activations& columnSide) {
  if (rowSide.features != rows) return mismatch("the features on the layer's output side", rows, rowSide.features);
  if (columnSide.features != cols) return mismatch("the features on the layer's input side", cols, columnSide.features);
  return sameBatch(rowSide, columnSide);
}

Status sameShape(const Activations& a, const Activations& b) {
  if (a.features != b.features) return mismatch("the features", a.features, b.features);
  return sameBatch(a, b);
}

Status shapes(const Percolate& op) {
  for (const LayerRelation& r : op.relations) {
    const std::string layers = "layers " + std::to_string(r.first) + " and " + std::to_string(r.second);
    if (r.first == r.second) return {Code::invalidArgument, "Expected a relation between two layers, got " + layers};
    const Csr& first = op.layers[static_cast<size_t>(r.first)].links;
    const Csr& second = op.layers[static_cast<size_t>(r.second)].links;
    if (first.rows != (r.kind == LayerRelation::Kind::joint ? second.rows : second.cols)) {
      return {Code::invalidArgument, "Expected layers that share neurons, got " + layers + " of " +
                                         std::to_string(first.rows) + " x " + std::to_string(first.cols) + " and " +
                                         std::to_string(second.rows) + " x " + std::to_string(second.cols)};
    }
  }
  return {};
}
Status ofLayer(const Pool& pool, const Csr& links) {
  if (pool.links.rows != links.rows) return mismatch("the rows of the pool's links", links.rows, pool.links.rows);
  if (pool.links.cols != links.cols) return mismatch("the columns of the pool's links", links.cols, pool.links.cols);
  return {};
}

Status shapes(const OpenPool& op) { return ofLayer(op.pool, op.links); }
Status shapes(const ChooseFromPool& op) { return ofLayer(op.pool, op.links); }
Status shapes(const RestoreWeights& op) { return ofLayer(op.pool, op.links); }
Status shapes(const RegrowByGradient& op) { return product(op.links.rows, op.links.cols, op.outputGradient, op.input); }
Status shapes(const Spmm& op) { return product(op.weights.rows, op.weights.cols, op.output, op.input); }
Status shapes(const SpmmTransposed& op) {
  HEBB_RETURN_IF_ERROR(product(op.weights.rows, op.weights.cols, op.outputGradient, op.inputGradient));
  return op.activation == Activation::none ? Status{} : sameShape(op.inputGradient, op.input);
}
Status shapes(const Sddmm& op) { return product(op.pattern.rows, op.pattern.cols, op.outputGradient, op.input); }
Status shapes(const Linear& op) { return sameBatch(op.input, op.output); }
Status shapes(const LinearTransposed& op) {
  HEBB_RETURN_IF_ERROR(sameBatch(op.outputGradient, op.inputGradient));
  return op.activation == Activation::none ? Status{} : sameShape(op.inputGradient, op.input);
}
Status shapes(const LinearGradient& op) { return sameBatch(op.outputGradient, op.input); }
Status shapes(const Relu& op) { return sameShape(op.input, op.output); }
Status shapes(const ReluGradient& op) {
  HEBB_RETURN_IF_ERROR(sameShape(op.output, op.outputGradient));
  return sameShape(op.output, op.inputGradient);
}
Status shapes(const SoftmaxCrossEntropy& op) { return op.gradient.data ? sameShape(op.logits, op.gradient) : Status{}; }
Status shapes(const MeanSquaredError& op) {
  HEBB_RETURN_IF_ERROR(sameShape(op.output, op.target));
  return op.gradient.data ? sameShape(op.output, op.gradient) : Status{};
}
template <class Op>
Status shapes(const Op&) {
  return {};
}

struct Operand {
  const char* name;
  const void* memory;
};

/// Memory that is written must not be that of another operand. Buffers have no views: the same memory begins at the
/// same address.
Status apart(const std::vector<Operand>& written, const std::vector<Operand>& read) {
  for (size_t i = 0; i < written.size(); ++i) {
    for (size_t j = i + 1; j < written.size() + read.size(); ++j) {
      const Operand& other = j < written.size() ? written[j] : read[j - written.size()];
      if (!written[i].memory || written[i].memory != other.memory) continue;
      return {Code::invalidArgument, std::string("Expected ") + written[i].name + " and " + other.name +
                                         " to be different memory, got the same for both"};
    }
  }
  return {};
}

Status apart(const LinkChanges& c) {
  return apart({{"newRows", c.newRows}, {"newColumns", c.newColumns}, {"newCount", c.newCount}}, {});
}

// What is written element by element after the same element was read may be in place: relu, and gradients over what
// their derivatives are taken at.
Status aliases(const Gather& op) {
  return apart({{"output", op.output.data}}, {{"floats", op.floats}, {"scales", op.scales}, {"shifts", op.shifts}});
}
Status aliases(const GatherLabels& op) {
  return apart({{"targets", op.targets}}, {{"labels", op.labels}, {"indices", op.indices}});
}
Status aliases(const Spmm& op) {
  return apart({{"output", op.output.data}}, {{"input", op.input.data}, {"values", op.values}, {"bias", op.bias}});
}
Status aliases(const SpmmTransposed& op) {
  return apart({{"inputGradient", op.inputGradient.data}},
               {{"outputGradient", op.outputGradient.data}, {"values", op.values}});
}
Status aliases(const Sddmm& op) {
  return apart({{"gradient", op.gradient}, {"biasGradient", op.biasGradient}},
               {{"outputGradient", op.outputGradient.data}, {"input", op.input.data}});
}
Status aliases(const Linear& op) {
  return apart({{"output", op.output.data}}, {{"input", op.input.data}, {"weights", op.weights}, {"bias", op.bias}});
}
Status aliases(const LinearTransposed& op) {
  return apart({{"inputGradient", op.inputGradient.data}},
               {{"outputGradient", op.outputGradient.data}, {"weights", op.weights}});
}
Status aliases(const LinearGradient& op) {
  return apart({{"gradient", op.gradient}, {"biasGradient", op.biasGradient}},
               {{"outputGradient", op.outputGradient.data}, {"input", op.input.data}});
}
Status aliases(const Sgd& op) {
  return apart({{"values", op.rule.values}, {"velocity", op.rule.velocity}}, {{"gradient", op.gradient}});
}
Status aliases(const Adam& op) {
  return apart(
      {{"values", op.values}, {"firstMoment", op.firstMoment}, {"secondMoment", op.secondMoment}, {"steps", op.steps}},
      {{"gradient", op.gradient}});
}
Status aliases(const Importance& op) {
  return apart({{"scores", op.scores}}, {{"values", op.values}, {"gradient", op.gradient}});
}
Status aliases(const Percolate& op) {
  std::vector<Operand> keep;
  for (const Percolate::Layer& layer : op.layers) keep.push_back({"the keep of a layer", layer.keep});
  return apart(keep, {});
}
Status aliases(const Regrow& op) { return apart(op.changes); }
Status aliases(const RegrowByGradient& op) { return apart(op.changes); }
Status aliases(const OpenPool& op) { return apart({{"the pool's values", op.pool.values}}, {{"values", op.values}}); }
Status aliases(const ChooseFromPool& op) {
  HEBB_RETURN_IF_ERROR(apart(op.changes));
  return apart({{"keep", op.changes.keep}}, {{"the pool's keep", op.pool.keep}});
}
Status aliases(const RestoreWeights& op) {
  return apart({{"values", op.values}}, {{"the pool's values", op.pool.values}});
}
Status aliases(const BeginUpdate& op) { return apart(op.changes); }
Status aliases(const Rebuild& op) {
  HEBB_RETURN_IF_ERROR(apart(op.changes));
  std::vector<Operand> arrays;
  for (const float* array : op.arrays) arrays.push_back({"an array", array});
  return apart(arrays, {});
}
Status aliases(const UniteLinks& op) { return apart({{"ever", op.ever}, {"count", op.count}}, {}); }
Status aliases(const ReturnedLinks& op) {
  return apart(
      {{"counts", op.counts}},
      {{"newRows", op.changes.newRows}, {"newColumns", op.changes.newColumns}, {"newCount", op.changes.newCount}});
}
template <class Op>
Status aliases(const Op&) {
  return {};
}

/// Whether the operation may read or write the memory at `pointer` (the start of a parameter's array).
template <class... Pointers>
bool any(const void* pointer, Pointers... pointers) {
  return ((pointers == pointer) || ...);
}
bool touches(const Operation& operation, const void* pointer) {
  if (!pointer) return false;
  return std::visit(
      [&](const auto& op) {
        using T = std::decay_t<decltype(op)>;
        if constexpr (std::is_same_v<T, Spmm>) return any(pointer, (const void*)op.values, (const void*)op.bias);
        else if constexpr (std::is_same_v<T, SpmmTransposed>) return any(pointer, (const void*)op.values);
        else if constexpr (std::is_same_v<T, Sddmm>)
          return any(pointer, (const void*)op.gradient, (const void*)op.biasGradient,
                     (const void*)op.fusedValues.values, (const void*)op.fusedValues.velocity,
                     (const void*)op.fusedBias.values, (const void*)op.fusedBias.velocity,
                     (const void*)op.fusedTransposed.values);
        else if constexpr (std::is_same_v<T, Linear>)
          return any(pointer, (const void*)op.weights, (const void*)op.bias);
        else if constexpr (std::is_same_v<T, LinearTransposed>) return any(pointer, (const void*)op.weights);
        else if constexpr (std::is_same_v<T, LinearGradient>)
          return any(pointer, (const void*)op.gradient, (const void*)op.biasGradient,
                     (const void*)op.fusedValues.values, (const void*)op.fusedValues.velocity,
                     (const void*)op.fusedBias.values, (const void*)op.fusedBias.velocity);
        else if constexpr (std::is_same_v<T, Sgd>)
          return any(pointer, (const void*)op.gradient, (const void*)op.rule.values, (const void*)op.rule.velocity);
        else if constexpr (std::is_same_v<T, Adam>)
          return any(pointer, (const void*)op.gradient, (const void*)op.values, (const void*)op.firstMoment,
                     (const void*)op.secondMoment, (const void*)op.steps);
        // Operations on activations and on the stream of samples touch no parameter.
        else if constexpr (std::is_same_v<T, Advance> || std::is_same_v<T, Permute> || std::is_same_v<T, Gather> ||
                           std::is_same_v<T, GatherLabels> || std::is_same_v<T, Relu> ||
                           std::is_same_v<T, ReluGradient> || std::is_same_v<T, SoftmaxCrossEntropy> ||
                           std::is_same_v<T, MeanSquaredError>)
          return false;
        else return true;  // topology operations: assume the worst
      },
      operation);
}

}  // namespace

Status checkOperands(const Operation& operation) {
  const Status status = std::visit(
      [](const auto& op) {
        HEBB_RETURN_IF_ERROR(shapes(op));
        return aliases(op);
      },
      operation);
  return status.ok() ? status : Status{status.code(), std::string(nameOf(operation)) + ": " + status.message()};
}

std::vector<Operation> fuse(const std::vector<Operation>& recorded) {
  std::vector<Operation> fused = recorded;
  std::vector<bool> gone(fused.size(), false);
  // Takes the SGD that alone reads a gradient into the operation i that writes it.
  const auto absorb = [&](size_t i, const float* gradient, bool accumulate, const int32_t* count, int64_t capacity,
                          SgdRule* into) {
    if (!gradient || accumulate) return;
    const size_t none = fused.size();
    size_t reader = none;
    for (size_t j = 0; j < fused.size(); ++j) {
      if (j == i || gone[j] || !touches(fused[j], gradient)) continue;
      if (reader != none || j < i) return;  // read twice, or by the next step
      reader = j;
    }
    const auto* optimizer = reader == none ? nullptr : std::get_if<Sgd>(&fused[reader]);
    if (!optimizer || optimizer->gradient != gradient || optimizer->count != count || optimizer->capacity != capacity)
      return;
    for (size_t j = i + 1; j < reader; ++j) {
      if (!gone[j] && (touches(fused[j], optimizer->rule.values) || touches(fused[j], optimizer->rule.velocity)))
        return;
    }
    *into = optimizer->rule;
    gone[reader] = true;
  };
  for (size_t i = 0; i < fused.size(); ++i) {
    if (auto* dense = std::get_if<LinearGradient>(&fused[i])) {
      const int64_t rows = dense->outputGradient.features;
      absorb(i, dense->gradient, dense->accumulate, nullptr, rows * dense->input.features, &dense->fusedValues);
      absorb(i, dense->biasGradient, dense->accumulateBias, nullptr, rows, &dense->fusedBias);
    }
    auto* product = std::get_if<Sddmm>(&fused[i]);
    if (!product) continue;
    const Csr& links = product->pattern;
    // The product just before, over the same links and rows of dY, may go along, unless it writes what the gradient is
    // computed from.
    const auto* before = i > 0 && !gone[i - 1] ? std::get_if<SpmmTransposed>(&fused[i - 1]) : nullptr;
    if (before && before->weights.rowOffsets == links.rowOffsets &&
        before->outputGradient.data == product->outputGradient.data &&
        before->inputGradient.data != product->input.data && !touches(fused[i], before->values)) {
      product->fusedTransposed = *before;
      gone[i - 1] = true;
    }
    absorb(i, product->gradient, product->accumulate, links.rowOffsets + links.rows, links.capacity,
           &product->fusedValues);
    absorb(i, product->biasGradient, product->accumulateBias, nullptr, links.rows, &product->fusedBias);
  }
  std::vector<Operation> result;
  for (size_t i = 0; i < fused.size(); ++i) {
    if (!gone[i]) result.push_back(std::move(fused[i]));
  }
  return result;
}

}  // namespace hebb
