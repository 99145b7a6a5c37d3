// A device as the rest of the library sees it: a backend, the thread that drives it, and the buffers that live on it.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "hebb/backend.h"
#include "hebb/any_operation.h"

namespace hebb {

class Device;

/// How long the memory of a Program's value is its own. `step`: from what writes it to what reads it last. `given`: the
/// host writes it before each step, and it is there until what reads it last. `kept`: it is there when the replay is
/// done, for others to read.
enum class Lifetime : uint8_t { step, given, kept };
constexpr auto namesOf(Lifetime) {
  using L = Lifetime;
  return std::array{Named<L>{"step", L::step}, Named<L>{"given", L::given}, Named<L>{"kept", L::kept}};
}

/// What finds room for values: a Program, which knows when each of them is needed. On the device's thread.
class Placer {
 public:
  virtual ~Placer() = default;
  virtual Status place() = 0;
  /// Whether all values are kept, whatever their lifetime.
  virtual bool keepsAll() const = 0;
};

/// Device memory with one owner count for all who use it: JavaScript handles, Programs, running jobs. Its address is
/// good until it is resized: who keeps one for longer looks at generation(). A value has no memory of its own: it lies
/// in that of a workspace, where its Program places it.
class Buffer {
 public:
  Buffer(std::shared_ptr<Device> device, void* data, size_t bytes)
      : device_(std::move(device)), data_(data), bytes_(bytes) {}
  /// A value. `axis`: the memory of what it lies along, or null: its Program's whole batch.
  Buffer(std::shared_ptr<Device> device, size_t bytes, const std::shared_ptr<Placer>& placer, Lifetime lifetime,
         std::shared_ptr<Buffer> axis)
      : device_(std::move(device)), data_(nullptr), bytes_(bytes), placer_(placer), owner_(placer.get()),
        lifetime_(lifetime), isGiven_(lifetime == Lifetime::given), axis_(std::move(axis)) {}
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  /// Null for a value that has no place yet.
  template <class T = void>
  T* data() const {
    void* base = workspace_ ? workspace_->data() : data_.load();
    return static_cast<T*>(base && workspace_ ? static_cast<char*>(base) + offset_ : base);
  }
  size_t bytes() const { return bytes_; }
  const std::shared_ptr<Device>& device() const { return device_; }

  /// Moves to memory of another size: the first bytes stay what they are, and what is new is 0. On failure nothing has
  /// changed. On the device's thread.
  Status resize(size_t bytes);
  /// The same, but what it held is gone: of both memories only one is held at a time. On failure it has none.
  Status renew(size_t bytes);
  /// How often it has moved.
  int64_t generation() const { return generation_ + (workspace_ ? workspace_->generation() : 0); }

  // Of values.
  bool isValue() const { return owner_ != nullptr; }
  bool isValueOf(const Placer* placer) const { return owner_ != nullptr && owner_ == placer; }
  const std::shared_ptr<Buffer>& axis() const { return axis_; }
  Lifetime lifetime() const { return lifetime_; }
  void setLifetime(Lifetime lifetime) { lifetime_ = lifetime; }
  /// Whether the host writes it. It may be kept, too.
  bool isGiven() const { return isGiven_; }
  /// On the device's thread.
  void placeAt(const std::shared_ptr<Buffer>& workspace, size_t offset);
  /// Makes the memory ready for someone outside of the value's Program, or says why it is not for them. On the device's
  /// thread.
  Status open() const;

 private:
  std::shared_ptr<Device> device_;
  std::atomic<void*> data_;
  std::atomic<size_t> bytes_;
  std::atomic<int64_t> generation_{0};
  std::weak_ptr<Placer> placer_;
  const Placer* owner_ = nullptr;  // to compare with, not to use
  std::atomic<Lifetime> lifetime_{Lifetime::kept};
  const bool isGiven_ = false;
  std::shared_ptr<Buffer> axis_, workspace_;
  size_t offset_ = 0;
};

class Device : public std::enable_shared_from_this<Device> {
 public:
  static Status openCpu(const CpuOptions& options, std::shared_ptr<Device>* out);
  static Status openCuda(int index, std::shared_ptr<Device>* out, Blas blas = Blas::own,
                         Deterministic deterministic = Deterministic::device);
  ~Device();

  const DeviceInfo& info() const { return info_; }
  Backend& backend() const { return *backend_; }

  /// Zeroed memory. Any thread.
  Status allocate(size_t bytes, std::shared_ptr<Buffer>* out);

  /// How often memory of this device has moved: who sees the same number need not look further.
  int64_t moves() const { return moves_; }
  void noteMove() { ++moves_; }

  /// Work for the device's own thread, in the order given. `done` is called on that thread with what `run` returned, or
  /// with Code::disposed when the device was closed first. Any thread.
  struct Job {
    std::function<Status()> run;
    std::function<void(const Status&)> done;
  };
  void enqueue(Job job);

  /// Stops what runs, drops what waits, ends the thread. Buffers stay valid. Idempotent.
  void close();
  bool closing() const { return queue_->closing; }

  /// Makes the operation that runs give up early where it can, or lets the next ones run. A closed device stays
  /// stopped. Any thread.
  void setStop(bool stop);

  /// Runs one operation now, on the calling thread: for the device's thread, or where no job is queued.
  Status run(const Operation& operation);

 private:
  // Shared with the thread, which may outlive the Device when the last reference is dropped by a job.
  struct Queue {
    std::mutex mutex;
    std::condition_variable wake;
    std::deque<Job> jobs;
    std::atomic<bool> closing{false};
  };

  Device(std::unique_ptr<Backend> backend, DeviceInfo info);
  static void serve(const std::shared_ptr<Queue>& queue);

  std::unique_ptr<Backend> backend_;
  DeviceInfo info_;
  std::atomic<int64_t> moves_{0};
  std::shared_ptr<Queue> queue_ = std::make_shared<Queue>();
  std::thread thread_;
};

/// The operation's name, as users know it.
const char* nameOf(const Operation& operation);

/// Whether the backend has the operation.
bool supports(const Operations& table, const Operation& operation);

}  // namespace hebb
