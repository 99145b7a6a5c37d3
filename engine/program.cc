#include "program.h"

#include <algorithm>

namespace hebb {

Status Program::create(const std::shared_ptr<Device>& device, int32_t scalars, int32_t batch,
                       std::shared_ptr<Program>* out, std::shared_ptr<Buffer> workspace) {
  if (scalars < 1 || batch < 1)
    return {Code::invalidArgument, "Expected at least one scalar and a batch of at least 1"};
  std::shared_ptr<Program> program(new Program(device, scalars, batch));
  HEBB_RETURN_IF_ERROR(device->allocate(sizeof(StepState), &program->state_));
  HEBB_RETURN_IF_ERROR(device->allocate(sizeof(double) * static_cast<size_t>(scalars), &program->scalars_));
  HEBB_RETURN_IF_ERROR(device->allocate(sizeof(double) * static_cast<size_t>(scalars), &program->table_));
  if (workspace && (workspace->device() != device || workspace->isValue()))
    return {Code::invalidArgument, "Expected a workspace that is memory of the program's device"};
  if (!workspace) HEBB_RETURN_IF_ERROR(device->allocate(0, &workspace));
  program->workspace_ = std::move(workspace);
  program->values_.owner = program.get();
  StepState state;
  state.batch = batch;
  state.axis = {batch, 0, batch};
  HEBB_RETURN_IF_ERROR(device->backend().write(program->state_->data(), &state, sizeof state));
  *out = std::move(program);
  return {};
}

Status Program::record(const std::string& operation, const Operands& operands) {
  if (device_->closing()) return {Code::disposed, "Expected a device that is in use, got one that was disposed"};
  Recorded recorded;
  HEBB_RETURN_IF_ERROR(readOperands(operation, operands, surroundings(), &recorded));
  if (!supports(device_->backend().operations(), recorded.operation)) {
    return {Code::unsupported, "Expected a device with the operation '" + operation + "', got '" +
                                   device_->info().kind + "', which does not have it yet. Use device 'cpu'."};
  }
  for (const Slot& slot : recorded.slots) {
    if (!slot || !slot.buffer || !slot.buffer->isValue() || slot.buffer->isValueOf(this)) continue;
    if (slot.buffer->lifetime() == Lifetime::kept) continue;
    return {Code::invalidArgument, operation + ": Expected " + slot.name +
                                       " to be a value of this program, got one that another program does not keep"};
  }
  if (const auto* gather = std::get_if<Gather>(&recorded.operation))
    longestStream_ = std::min(longestStream_, gather->count);
  if (const auto* labels = std::get_if<GatherLabels>(&recorded.operation))
    longestStream_ = std::min(longestStream_, labels->count);
  if (const auto* weights = std::get_if<GatherWeights>(&recorded.operation))
    longestStream_ = std::min(longestStream_, weights->count);
  recorded.section = section_;
  recorded_.push_back(std::move(recorded));
  isPlanned_ = false;
  return {};
}

Status Program::makePart(int32_t first, int32_t columns, std::shared_ptr<Buffer>* out,
                         const std::shared_ptr<Buffer>& of) {
  const auto whole = std::find_if(axes_.begin(), axes_.end(), [&](const ColumnAxis& one) { return one.memory == of; });
  if (of && whole == axes_.end())
    return {Code::invalidArgument, "Expected a part of an axis of this program, got one of another program's"};
  const int32_t fit = of ? whole->columns : batch_;
  if (first < 0 || first % 16 != 0 || columns < 1 || columns > fit - first) {
    return {Code::invalidArgument, "Expected a part of " + std::string(of ? "an axis" : "a batch") + " of " +
                                       std::to_string(fit) + " columns that begins at a multiple of 16, got " +
                                       std::to_string(columns) + " columns from " + std::to_string(first) + " on"};
  }
  HEBB_RETURN_IF_ERROR(device_->allocate(sizeof(Axis), out));
  axes_.push_back({*out, first, columns, true, of});
  isFresh_ = false;
  return {};
}

Status Program::makeAxis(int32_t columns, std::shared_ptr<Buffer>* out) {
  if (columns < 1)
    return {Code::invalidArgument, "Expected an axis of at least 1 column, got " + std::to_string(columns)};
  HEBB_RETURN_IF_ERROR(device_->allocate(sizeof(Axis), out));
  axes_.push_back({*out, 0, columns});
  return {};
}

Status Program::makeValue(int32_t features, Lifetime lifetime, ActivationsView* out,
                          const std::shared_ptr<Buffer>& axis) {
  if (features < 1)
    return {Code::invalidArgument, "Expected features to be at least 1, got " + std::to_string(features)};
  const auto along =
      std::find_if(axes_.begin(), axes_.end(), [&](const ColumnAxis& one) { return one.memory == axis; });
  if (axis && along == axes_.end())
    return {Code::invalidArgument, "Expected an axis of this program, got one of another program"};
  const int32_t capacity = axis ? along->columns : batch_;
  const auto bytes = static_cast<size_t>(device_->backend().activationBytes(features, capacity));
  auto buffer = std::make_shared<Buffer>(device_, bytes, shared_from_this(), lifetime, axis);
  values_.all.push_back(buffer);
  isPlanned_ = false;
  *out = {.buffer = std::move(buffer), .features = features, .capacity = capacity};
  return {};
}

Status Program::setLifetime(const ActivationsView& value, Lifetime lifetime) {
  if (!value.buffer->isValue()) return {};  // memory of its own is always there
  if (!value.buffer->isValueOf(this))
    return {Code::invalidArgument, "Expected a value of this program, got one of another"};
  value.buffer->setLifetime(lifetime);
  isPlanned_ = false;
  return {};
}

Status Program::keepAll(bool all) {
  if (all && !keptWorkspace_) HEBB_RETURN_IF_ERROR(device_->allocate(0, &keptWorkspace_));
  values_.keepAll = all;
  isPlanned_ = false;
  Status status = instantiate();
  if (!all) keptWorkspace_.reset();
  return status;
}

Status Program::checkSegment(const Segment& segment) const {
  const auto& [step, scalars, samples, next, columns] = segment;
  if (scalars.size() % static_cast<size_t>(width_) != 0) {
    return {Code::invalidArgument, "Expected rows of " + std::to_string(width_) + " scalars, got " +
                                       std::to_string(scalars.size()) + " numbers"};
  }
  if (columns < 0 || columns > batch_) {
    return {Code::invalidArgument,
            "Expected at most " + std::to_string(batch_) + " columns, got " + std::to_string(columns)};
  }
  if (samples > longestStream_) {
    return {Code::invalidArgument, "Expected a stream of at most " + std::to_string(longestStream_) +
                                       " samples, the indices that gather was given, got " + std::to_string(samples)};
  }
  if (next < 0 || (next > 0 && next >= samples)) {
    return {Code::invalidArgument,
            "Expected the next sample to be one of " + std::to_string(samples) + ", got " + std::to_string(next)};
  }
  return {};
}

Status Program::writeScalars(const std::vector<double>& table) {
  const size_t bytes = table.size() * sizeof(double);
  if (bytes > table_->bytes()) {
    HEBB_RETURN_IF_ERROR(device_->allocate(bytes, &table_));
    isFresh_ = false;
  }
  tableRows_ = static_cast<int64_t>(table.size()) / width_;
  return device_->backend().write(table_->data(), table.data(), bytes);
}

Status Program::begin(const Segment& segment) {
  const auto& [step, scalars, samples, next, columns] = segment;
  HEBB_RETURN_IF_ERROR(checkSegment(segment));
  Backend& backend = device_->backend();
  StepState state;
  if (step) {
    state.step = *step - 1;
  } else {
    HEBB_RETURN_IF_ERROR(cancelStep());
    StepState before;
    HEBB_RETURN_IF_ERROR(backend.read(&before, state_->data(), sizeof before));
    state.step = before.step;
  }
  if (!scalars.empty()) HEBB_RETURN_IF_ERROR(writeScalars(scalars));
  state.firstStep = state.step + 1;
  state.rows = tableRows_;
  state.next = next;
  state.samples = samples;
  state.batch = batch_;
  state.axis.columns = state.axis.whole = columns ? columns : batch_;
  HEBB_RETURN_IF_ERROR(backend.write(state_->data(), &state, sizeof state));
  samples_ = samples;
  if (step) done_ = *step;
  nextSection_ = 0;
  return {};
}

void Program::abort() {
  std::lock_guard lock(mutex_);
  aborted_ = tickets_.load();
  if (running_) device_->setStop(true);
}

int64_t Program::generations() const {
  int64_t sum = 0;
  for (const Recorded& recorded : planned_) {
    for (const Slot& slot : recorded.slots) {
      if (slot.buffer) sum += slot.buffer->generation();
      if (slot.links) sum += slot.links->generation();
    }
  }
  return sum;
}

/// Fuses what was recorded, and gives the values their places.
Status Program::planValues() {
  if (isPlanned_) return {};
  isFresh_ = false;
  planned_ = fuse(recorded_, values_);
  if (!values_.keepAll) planned_ = removeUnread(std::move(planned_), values_);
  Plan places;
  HEBB_RETURN_IF_ERROR(plan(planned_, values_, &places));
  const std::shared_ptr<Buffer>& workspace = values_.keepAll ? keptWorkspace_ : workspace_;
  for (size_t i = 0; i < values_.all.size(); ++i) values_.all[i]->placeAt(workspace, places.offsets[i]);
  isPlanned_ = true;
  planBytes_ = places.bytes;
  return {};
}

/// Plans what was recorded since, and binds all of it where a resource has moved or changed its capacity.
/// Adds what says which columns the parts of an axis have, or of the batch, and the parts of these.
void Program::takeParts(const std::shared_ptr<Buffer>& of, std::vector<Operation>* bound) const {
  const Axis* whole = of ? of->data<Axis>() : axis();
  for (const ColumnAxis& one : axes_) {
    if (!one.isPart || one.whole != of) continue;
    bound->push_back(TakePart{whole, one.memory->data<Axis>(), one.first, one.columns});
    takeParts(one.memory, bound);
  }
}

Status Program::instantiate() {
  HEBB_RETURN_IF_ERROR(planValues());
  // Where another Program could not have what it needs of a workspace, there is none.
  const std::shared_ptr<Buffer>& workspace = values_.keepAll ? keptWorkspace_ : workspace_;
  if (planBytes_ > workspace->bytes()) HEBB_RETURN_IF_ERROR(workspace->renew(planBytes_));
  const int64_t moves = device_->moves();
  if (isFresh_ && moves == movesSeen_) return {};
  const int64_t now = generations();
  movesSeen_ = moves;
  if (isFresh_ && now == boundGenerations_) return {};
  isFresh_ = false;
  std::vector<Operation> bound;
  bound.push_back(Advance{state(), table_->data<double>(), scalars_->data<double>(), width_});
  takeParts(nullptr, &bound);
  lasting_ = planned_.size() + bound.size();
  std::vector<Section> sections;
  sections.push_back({0, 0, nullptr});
  for (const Recorded& recorded : planned_) {
    while (static_cast<int32_t>(sections.size()) <= recorded.section) {
      sections.back().end = bound.size();
      sections.push_back({bound.size(), 0, nullptr});
    }
    if (recorded.lasts()) lasting_ = std::min(lasting_, bound.size());
    Operation operation;
    HEBB_RETURN_IF_ERROR(resolve(recorded, surroundings(), &operation));
    bound.push_back(std::move(operation));
    // An axis that it says the columns of has parts.
    for (const Slot& slot : recorded.slots) {
      if (slot && slot.writes() && slot.buffer) takeParts(slot.buffer, &bound);
    }
  }
  sections.back().end = bound.size();
  while (static_cast<int32_t>(sections.size()) <= section_) sections.push_back({bound.size(), bound.size(), nullptr});
  bound_ = std::move(bound);
  sections_ = std::move(sections);
  isSettled_ = false;
  boundGenerations_ = now;
  isFresh_ = true;
  return {};
}

Status Program::bound(std::vector<Operation>* out) {
  HEBB_RETURN_IF_ERROR(instantiate());
  *out = bound_;
  return {};
}

Status Program::runSection(Section& section, uint64_t ticket, bool* begun) {
  if (section.recording) {
    if (section.begin <= lasting_ && stopped(ticket)) return {Code::aborted, ""};
    return section.recording->run();
  }
  Status status;
  for (size_t i = section.begin; i < section.end && status.ok(); ++i) {
    // What lasts is changed by the whole step or not at all.
    if (i <= lasting_ && stopped(ticket)) return {Code::aborted, ""};
    if (status = device_->run(bound_[i]); !status.ok())
      status = {status.code(), std::string(nameOf(bound_[i])) + ": " + status.message()};
    *begun = *begun || status.ok();
  }
  return status;
}

Status Program::runStep(uint64_t ticket, bool* begun) {
  for (Section& section : sections_) {
    HEBB_RETURN_IF_ERROR(runSection(section, ticket, begun));
    *begun = true;
  }
  return {};
}

/// After a first step one by one, the device may run each section as one.
Status Program::recordSections() {
  if (isSettled_) return {};
  isSettled_ = true;
  for (Section& section : sections_) {
    if (section.begin == section.end) continue;
    HEBB_RETURN_IF_ERROR(device_->backend().record(
        [&] {
          Status queued;
          for (size_t i = section.begin; i < section.end && queued.ok(); ++i) queued = device_->run(bound_[i]);
          return queued;
        },
        &section.recording));
  }
  return {};
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

Status Program::checkReads() const {
  // Without a stream, the first columns are read again and again.
  const int64_t read = samples_ > 0 ? samples_ : batch_;
  if (read <= longestStream_) return {};
  return {Code::invalidArgument, "Expected a program that gathers to read at most " + std::to_string(longestStream_) +
                                     " indices, got " + std::to_string(read)};
}

void Program::setRunning(uint64_t ticket) {
  std::lock_guard lock(mutex_);
  running_ = true;
  device_->setStop(stopped(ticket));
}

/// Waits for the device, and takes back a step that was begun and not done.
Status Program::finish(Status status, bool begun) {
  // A device may still be at work on what was queued. What failed there failed before what stopped the queueing.
  if (Status end = device_->backend().synchronize(); !end.ok()) {
    status = std::move(end);
    begun = true;
  }
  if (begun && !status.ok()) {
    nextSection_ = 0;
    if (Status undo = undoStep(); !undo.ok() && status.code() == Code::aborted) status = std::move(undo);
  }
  std::lock_guard lock(mutex_);
  running_ = false;
  device_->setStop(false);
  return status;
}

Status Program::progress(Status status, int64_t done, int64_t steps) const {
  if (status.code() != Code::aborted) return status;
  const std::string progress = "after " + std::to_string(done) + " of " + std::to_string(steps) + " steps";
  return device_->closing() ? Status{Code::disposed, "the device was disposed " + progress}
                            : Status{Code::aborted, "stopped " + progress};
}

Status Program::replay(int64_t steps, uint64_t ticket) {
  HEBB_RETURN_IF_ERROR(cancelStep());
  HEBB_RETURN_IF_ERROR(checkReads());
  HEBB_RETURN_IF_ERROR(instantiate());
  setRunning(ticket);
  Status status;
  const int64_t before = done_;
  bool begun = false;  // a step that is not done
  for (int64_t step = 0; step < steps && status.ok(); ++step) {
    if (status = runStep(ticket, &begun); !status.ok()) break;
    ++done_;
    begun = false;
    status = recordSections();
  }
  status = finish(std::move(status), begun);
  return progress(std::move(status), done_ - before, steps);
}

Status Program::replaySection(int32_t section, uint64_t ticket) {
  if (section != nextSection_) {
    return {Code::invalidArgument,
            "Expected section " + std::to_string(nextSection_) + " of the step, got " + std::to_string(section)};
  }
  HEBB_RETURN_IF_ERROR(checkReads());
  HEBB_RETURN_IF_ERROR(instantiate());
  setRunning(ticket);
  bool begun = section > 0;
  Status status = finish(runSection(sections_[static_cast<size_t>(section)], ticket, &begun), begun);
  if (!status.ok()) return progress(std::move(status), 0, 1);
  nextSection_ = section + 1;
  if (nextSection_ < sections()) return {};
  nextSection_ = 0;
  ++done_;
  return recordSections();
}

Status Program::cancelStep() {
  if (nextSection_ == 0) return {};
  nextSection_ = 0;
  return undoStep();
}

}  // namespace hebb
