// A Program is a recorded step: a list of operations that name what to do, not with which kernel. It is recorded once
// and replayed for thousands of steps in one call. What differs from step to step lives in device memory: the step
// counter, a row of scalars, the batch.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "device.h"
#include "plan.h"
#include "recorded.h"

namespace hebb {

/// Where a segment of steps begins. But for the count of steps and the rows of scalars, nothing is taken over from
/// before.
struct Segment {
  std::optional<int64_t> step = {};  // number of the first step; none: the next one
  /// The first row is the first step's, and steps past the last row use that. None: those of before, from the first on.
  std::vector<double> scalars = {};
  int64_t samples = 0, next = 0;  // the stream that gather reads, and where in it the first batch starts; 0: no stream
  int32_t columns = 0;            // without a stream: valid ones, gathered from the first indices; 0: all
};

class Program : public Placer, public std::enable_shared_from_this<Program> {
 public:
  /// `scalars`: the width of the scalar table. `batch`: columns of a full batch. `workspace`: memory for the values of
  /// several Programs, of which one runs at a time; it grows as they need it, and each replay takes all of it. Without
  /// one the Program has its own.
  static Status create(const std::shared_ptr<Device>& device, int32_t scalars, int32_t batch,
                       std::shared_ptr<Program>* out, std::shared_ptr<Buffer> workspace = nullptr);

  const std::shared_ptr<Device>& device() const { return device_; }
  StepState* state() const { return state_->data<StepState>(); }
  const double* scalar(int32_t index) const { return scalars_->data<double>() + index; }
  int32_t scalarCount() const { return width_; }
  int32_t batch() const { return batch_; }
  const Axis* axis() const { return &state()->axis; }
  const int64_t* step() const { return &state()->step; }

  /// Adds an operation by its name (hebb/operations.h) after checking its operands. The Program keeps the resources
  /// that they name alive. Where one of them moves, or a layer's capacity changes, the next replay binds again.
  Status record(const std::string& operation, const Operands& operands);

  /// The columns [first, first + columns) of each batch, a micro-batch, or of an axis that was made before, as far as
  /// it has them. `first` is a multiple of 16. What it gives is the axis of values.
  Status makePart(int32_t first, int32_t columns, std::shared_ptr<Buffer>* out,
                  const std::shared_ptr<Buffer>& of = nullptr);
  /// An axis of its own, such as one of tokens, with room for so many columns: an operation of the step says how many
  /// there are.
  Status makeAxis(int32_t columns, std::shared_ptr<Buffer>* out);
  /// What is recorded from now on is another section of the step: between two of them whoever replays may have the host
  /// look at what lies on the device, or change it. Nothing is fused across.
  void cut() { ++section_; }
  int32_t sections() const { return section_ + 1; }

  /// A value of the step, with room for a full batch, or all columns of a part: memory that the Program finds for as
  /// long as the step needs it.
  Status makeValue(int32_t features, Lifetime lifetime, ActivationsView* out,
                   const std::shared_ptr<Buffer>& axis = nullptr);
  /// Says how long a value of this Program is needed. Activations with memory of their own are always there.
  Status setLifetime(const ActivationsView& value, Lifetime lifetime);

  /// Whether begin() takes the segment.
  Status checkSegment(const Segment& segment) const;

  // The following run on the device's thread.

  /// From now on, all values are kept, each in memory of its own: to look where a number went wrong. Or as before.
  Status keepAll(bool all);

  /// Says where the next replay begins. A segment that is refused changes nothing.
  Status begin(const Segment& segment);
  /// Runs `steps` steps, or fewer when stopped (Code::aborted, or Code::disposed when the device was closed). Steps are
  /// whole: one that is stopped has changed nothing that lasts, neither parameters nor totals nor links. `ticket` tells
  /// abort() which replay this is.
  Status replay(int64_t steps, uint64_t ticket);
  Status replay(int64_t steps) { return replay(steps, ticket()); }
  /// Runs one section of a step. The first begins a step, and is stopped as replay() is; the others go on with it, in
  /// their order, to the end. Another Program of the workspace in between would take the step's values.
  Status replaySection(int32_t section, uint64_t ticket);
  /// Gives up the step that was begun, if there is one: the next has its number and its samples. What its sections have
  /// changed that lasts stays changed.
  Status cancelStep();
  /// What a step runs, one after another: what was recorded after fusion, with the addresses of now.
  Status bound(std::vector<Operation>* out);

  // The following may be called by any thread.

  /// From now on, stepsDone() counts from here: what a segment that is asked for now begins with.
  void countFrom(int64_t step) { done_ = step; }
  /// The ticket of a replay that is asked for now and runs later.
  uint64_t ticket() { return ++tickets_; }
  /// Stops the replays that were asked for before, and none that is asked for later.
  void abort();
  /// While a device that queues its work is busy: the steps queued.
  int64_t stepsDone() const { return done_; }
  int64_t operationCount() const { return static_cast<int64_t>(bound_.size()); }

  Status place() override { return instantiate(); }
  bool keepsAll() const override { return values_.keepAll; }

 private:
  Program(std::shared_ptr<Device> device, int32_t scalars, int32_t batch)
      : device_(std::move(device)), width_(scalars), batch_(batch) {}
  Status instantiate();
  Status planValues();
  void takeParts(const std::shared_ptr<Buffer>& of, std::vector<Operation>* bound) const;
  Status writeScalars(const std::vector<double>& table);
  /// Changes with every move of a resource that the recording names.
  int64_t generations() const;
  Surroundings surroundings() const { return {device_, state_, scalars_, width_, batch_, &axes_}; }
  /// Operations of bound_, and what the device has recorded of them.
  struct Section {
    size_t begin, end;
    std::unique_ptr<Backend::Recording> recording;
  };
  Status checkReads() const;
  Status runStep(uint64_t ticket, bool* begun);
  Status runSection(Section& section, uint64_t ticket, bool* begun);
  Status recordSections();
  void setRunning(uint64_t ticket);
  Status finish(Status status, bool begun);
  Status progress(Status status, int64_t done, int64_t steps) const;
  Status undoStep();
  bool stopped(uint64_t ticket) const { return ticket <= aborted_ || device_->closing(); }

  std::shared_ptr<Device> device_;
  const int32_t width_, batch_;
  std::shared_ptr<Buffer> state_, scalars_, table_;
  int64_t tableRows_ = 1;
  int64_t longestStream_ = INT64_MAX;  // what the recorded gathers can read; INT64_MAX without one
  int64_t samples_ = 0;                // of the stream, 0 without one
  std::vector<ColumnAxis> axes_;
  std::vector<Recorded> recorded_;
  Values values_;
  std::shared_ptr<Buffer> workspace_, keptWorkspace_;
  size_t planBytes_ = 0;           // of the workspace
  std::vector<Recorded> planned_;  // what is left of the recording after fusion
  bool isPlanned_ = false;         // planned_ has all that was recorded
  std::vector<Operation> bound_;   // what replay runs: that, with addresses
  bool isFresh_ = false;           // bound_ has all that was planned
  int64_t movesSeen_ = 0;          // of the device, when that was last looked into
  int64_t boundGenerations_ = 0;
  bool isSettled_ = false;  // whether the device records it was asked, after a first step one by one
  std::vector<Section> sections_;
  size_t lasting_ = 0;       // the first operation of bound_ that changes what outlives the step
  int32_t section_ = 0;      // that is being recorded
  int32_t nextSection_ = 0;  // of the step that was begun; 0: none was
  std::atomic<int64_t> done_{0};
  std::atomic<uint64_t> tickets_{0}, aborted_{0};  // tickets given out, and those up to which replays are to stop
  std::mutex mutex_;  // keeps an abort from stopping the device after the replay that it was meant for
  bool running_ = false;
};

}  // namespace hebb
