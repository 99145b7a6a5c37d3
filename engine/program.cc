#include "program.h"

#include <algorithm>

namespace hebb {

Status Program::create(const std::shared_ptr<Device>& device, int32_t scalars, int32_t batch, std::shared_ptr<Program>* out) {
  if (scalars < 1 || batch < 1) return {Code::invalidArgument, "Expected at least one scalar and a batch of at least 1"};
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
    return {Code::unsupported, std::string("Expected a device with the operation '") + nameOf(operation) + "', got '" + device_->info().kind + "', which does not have it yet. Use device 'cpu'."};
  }
  HEBB_RETURN_IF_ERROR(checkShapes(operation));
  if (const auto* gather = std::get_if<Gather>(&operation)) longestStream_ = std::min(longestStream_, gather->count);
  if (const auto* labels = std::get_if<GatherLabels>(&operation)) longestStream_ = std::min(longestStream_, labels->count);
  recorded_.push_back(std::move(operation));
  uses_.insert(uses_.end(), uses.begin(), uses.end());
  fresh_ = false;
  return {};
}

Status Program::setScalars(const std::vector<double>& table) {
  if (table.empty() || table.size() % static_cast<size_t>(width_) != 0) {
    return {Code::invalidArgument, "Expected rows of " + std::to_string(width_) + " scalars, got " + std::to_string(table.size()) + " numbers"};
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
    return {Code::invalidArgument, "Expected at most " + std::to_string(state.batch) + " columns, got " + std::to_string(columns)};
  }
  if (samples > longestStream_) {
    return {Code::invalidArgument, "Expected a stream of at most " + std::to_string(longestStream_) + " samples, the indices that gather was given, got " + std::to_string(samples)};
  }
  if (next < 0 || (next > 0 && next >= samples)) {
    return {Code::invalidArgument, "Expected the next sample to be one of " + std::to_string(samples) + ", got " + std::to_string(next)};
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
  abort_ = true;
  if (running_) device_->backend().stop = true;
}

Status Program::instantiate() {
  if (fresh_) return {};
  bound_ = fuse(recorded_);
  bound_.insert(bound_.begin(), Advance{state(), table_->data<double>(), scalars_->data<double>(), width_});
  fresh_ = true;
  return {};
}

Status Program::replay(int64_t steps) {
  const int64_t read = samples_ > 0 ? samples_ : batch_;  // without a stream, the first columns are read again and again
  if (read > longestStream_) {
    return {Code::invalidArgument, "Expected a program that gathers to read at most " + std::to_string(longestStream_) + " indices, got " + std::to_string(read)};
  }
  HEBB_RETURN_IF_ERROR(instantiate());
  Backend& backend = device_->backend();
  running_ = true;
  if (!device_->closing()) backend.stop = false;
  Status status;
  for (int64_t i = 0; i < steps && status.ok(); ++i) {
    if (abort_ || device_->closing()) {
      status = {Code::aborted, "stopped after " + std::to_string(i) + " of " + std::to_string(steps) + " steps"};
      break;
    }
    for (const Operation& operation : bound_) {
      status = device_->run(operation);
      if (status.ok()) continue;
      status = {status.code(), std::string(nameOf(operation)) + ": " + status.message()};
      break;
    }
    if (status.ok()) ++done_;
  }
  // A device may still be at work on what was queued; its errors belong to this replay.
  if (Status end = backend.synchronize(); status.ok()) status = std::move(end);
  running_ = false;
  abort_ = false;
  if (!device_->closing()) backend.stop = false;
  return status;
}

namespace {

Status mismatch(const char* what, int64_t expected, int64_t got) {
  return {Code::invalidArgument, std::string("Expected ") + what + " to be " + std::to_string(expected) + ", got " + std::to_string(got)};
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
        else if constexpr (std::is_same_v<T, Sddmm>) return any(pointer, (const void*)op.gradient, (const void*)op.biasGradient, (const void*)op.fusedValues.values, (const void*)op.fusedValues.velocity, (const void*)op.fusedBias.values, (const void*)op.fusedBias.velocity);
        else if constexpr (std::is_same_v<T, Linear> ) return any(pointer, (const void*)op.weights, (const void*)op.bias);
        else if constexpr (std::is_same_v<T, LinearTransposed>) return any(pointer, (const void*)op.weights);
        else if constexpr (std::is_same_v<T, LinearGradient>) return any(pointer, (const void*)op.gradient, (const void*)op.biasGradient);
        else if constexpr (std::is_same_v<T, Sgd>) return any(pointer, (const void*)op.gradient, (const void*)op.rule.values, (const void*)op.rule.velocity);
        // Operations on activations and on the stream of samples touch no parameter.
        else if constexpr (std::is_same_v<T, Advance> || std::is_same_v<T, Permute> || std::is_same_v<T, Gather> || std::is_same_v<T, GatherLabels> ||
                           std::is_same_v<T, Relu> || std::is_same_v<T, ReluGradient> || std::is_same_v<T, SoftmaxCrossEntropy> || std::is_same_v<T, MeanSquaredError>) return false;
        else return true;  // topology operations: assume the worst
      },
      operation);
}

}  // namespace

Status checkShapes(const Operation& operation) {
  const Status status = std::visit([](const auto& op) { return shapes(op); }, operation);
  return status.ok() ? status : Status{status.code(), std::string(nameOf(operation)) + ": " + status.message()};
}

std::vector<Operation> fuse(const std::vector<Operation>& recorded) {
  std::vector<Operation> fused = recorded;
  std::vector<bool> gone(fused.size(), false);
  for (size_t i = 0; i < fused.size(); ++i) {
    auto* product = std::get_if<Sddmm>(&fused[i]);
    if (!product) continue;
    const auto absorb = [&](const float* gradient, bool accumulate, const int32_t* count, int64_t capacity, SgdRule* into) {
      if (!gradient || accumulate) return;
      const size_t none = fused.size();
      size_t reader = none;
      for (size_t j = 0; j < fused.size(); ++j) {
        if (j == i || gone[j] || !touches(fused[j], gradient)) continue;
        if (reader != none || j < i) return;  // read twice, or by the next step
        reader = j;
      }
      const auto* optimizer = reader == none ? nullptr : std::get_if<Sgd>(&fused[reader]);
      if (!optimizer || optimizer->gradient != gradient || optimizer->count != count || optimizer->capacity != capacity) return;
      for (size_t j = i + 1; j < reader; ++j) {
        if (!gone[j] && (touches(fused[j], optimizer->rule.values) || touches(fused[j], optimizer->rule.velocity))) return;
      }
      *into = optimizer->rule;
      gone[reader] = true;
    };
    const Csr& links = product->pattern;
    absorb(product->gradient, product->accumulate, links.rowOffsets + links.rows, links.capacity, &product->fusedValues);
    absorb(product->biasGradient, product->accumulateBias, nullptr, links.rows, &product->fusedBias);
  }
  std::vector<Operation> result;
  for (size_t i = 0; i < fused.size(); ++i) {
    if (!gone[i]) result.push_back(std::move(fused[i]));
  }
  return result;
}

}  // namespace hebb
