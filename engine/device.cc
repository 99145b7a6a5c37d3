// Buffers, the thread that drives a device, and the call of an operation by the backend's table. A buffer that moves
// counts it, which is how a Program knows that its addresses are old.
#include "device.h"

#include <algorithm>
#include <new>

namespace hebb {

Buffer::~Buffer() {
  if (data_) device_->backend().release(data_, bytes_);
}

Status Buffer::resize(size_t bytes) {
  if (isValue()) return {Code::invalidArgument, "Expected memory of its own to resize, got a program's value"};
  if (bytes == bytes_) return {};
  Backend& backend = device_->backend();
  void* data = nullptr;
  HEBB_RETURN_IF_ERROR(backend.allocate(bytes, &data));
  if (Status status = backend.copy(data, data_, std::min<size_t>(bytes, bytes_)); !status.ok()) {
    backend.release(data, bytes);
    return status;
  }
  backend.release(data_, bytes_);
  data_ = data;
  bytes_ = bytes;
  ++generation_;
  device_->noteMove();
  return {};
}

Status Buffer::renew(size_t bytes) {
  Backend& backend = device_->backend();
  if (data_) backend.release(data_, bytes_);
  data_ = nullptr;
  bytes_ = 0;
  ++generation_;
  device_->noteMove();
  void* data = nullptr;
  HEBB_RETURN_IF_ERROR(backend.allocate(bytes, &data));
  data_ = data;
  bytes_ = bytes;
  return {};
}

void Buffer::placeAt(const std::shared_ptr<Buffer>& workspace, size_t offset) {
  if (workspace_ == workspace && offset_ == offset) return;
  const int64_t next = generation() + 1;
  workspace_ = workspace;
  offset_ = offset;
  generation_ = next - workspace->generation();
  device_->noteMove();
}

Status Buffer::open() const {
  if (!isValue()) return {};
  const std::shared_ptr<Placer> placer = placer_.lock();
  if (!placer)
    return {Code::disposed, "Expected a value of a program that is in use, got one whose program was disposed"};
  if (lifetime_ == Lifetime::step && !placer->keepsAll()) {
    return {Code::invalidArgument,
            "Expected a value that its program keeps, got one whose memory others take in turn. Call keep() before"};
  }
  return placer->place();
}

Device::Device(std::unique_ptr<Backend> backend, DeviceInfo info)
    : backend_(std::move(backend)), info_(std::move(info)) {
  thread_ = std::thread([queue = queue_] { serve(queue); });
}

Device::~Device() {
  close();
  if (thread_.joinable()) thread_.detach();  // the last reference was dropped by the device's own thread
}

Status Device::openCpu(const CpuOptions& options, std::shared_ptr<Device>* out) {
  std::unique_ptr<Backend> backend;
  DeviceInfo info;
  HEBB_RETURN_IF_ERROR(hebb::openCpu(options, &backend, &info));
  *out = std::shared_ptr<Device>(new Device(std::move(backend), std::move(info)));
  return {};
}

Status Device::openCuda(int index, std::shared_ptr<Device>* out, Blas blas, Deterministic deterministic) {
  std::unique_ptr<Backend> backend;
  DeviceInfo info;
  HEBB_RETURN_IF_ERROR(hebb::openCuda(index, &backend, &info, blas, deterministic));
  *out = std::shared_ptr<Device>(new Device(std::move(backend), std::move(info)));
  return {};
}

Status Device::allocate(size_t bytes, std::shared_ptr<Buffer>* out) {
  void* data = nullptr;
  HEBB_RETURN_IF_ERROR(backend_->allocate(bytes, &data));
  *out = std::make_shared<Buffer>(shared_from_this(), data, bytes);
  return {};
}

void Device::enqueue(Job job) {
  {
    std::lock_guard lock(queue_->mutex);
    if (!queue_->closing) {
      queue_->jobs.push_back(std::move(job));
      queue_->wake.notify_one();
      return;
    }
  }
  job.done({Code::disposed, "Expected a device that is in use, got one that was disposed"});
}

void Device::setStop(bool stop) {
  std::lock_guard lock(queue_->mutex);
  backend_->stop = stop || queue_->closing;
}

void Device::close() {
  std::deque<Job> dropped;
  {
    std::lock_guard lock(queue_->mutex);
    queue_->closing = true;
    backend_->stop = true;
    dropped.swap(queue_->jobs);
    queue_->wake.notify_all();
  }
  for (Job& job : dropped)
    job.done({Code::disposed,
              "Expected a device that is in use until its calls are done, got one that was disposed before"});
  if (thread_.joinable() && thread_.get_id() != std::this_thread::get_id()) thread_.join();
}

void Device::serve(const std::shared_ptr<Queue>& queue) {
  for (;;) {
    Job job;
    {
      std::unique_lock lock(queue->mutex);
      queue->wake.wait(lock, [&] { return queue->closing || !queue->jobs.empty(); });
      if (queue->jobs.empty()) return;
      job = std::move(queue->jobs.front());
      queue->jobs.pop_front();
    }
    Status status;
    try {
      status = job.run();
    } catch (const std::bad_alloc&) {
      status = {Code::outOfMemory, "the system could not give the memory"};
    } catch (const std::exception& error) {
      status = {Code::internal, error.what()};
    }
    job.done(status);
  }
}

Status Device::run(const Operation& operation) {
  const Operations& table = backend_->operations();
  const auto call = [&](auto function, const auto& op) -> Status {
    if (!function)
      return {Code::unsupported, std::string("Expected a device with the operation '") + nameOf(operation) +
                                     "', got '" + info_.kind + "', which does not have it yet. Use device 'cpu'."};
    return function(*backend_, op);
  };
  return std::visit(
      [&](const auto& op) -> Status {
        using T = std::decay_t<decltype(op)>;
#define HEBB_CALL(Type, name) \
  if constexpr (std::is_same_v<T, Type>) return call(table.name, op);
        HEBB_OPERATIONS(HEBB_CALL)
#undef HEBB_CALL
      },
      operation);
}

const char* nameOf(const Operation& operation) {
#define HEBB_NAME(Type, name) #name,
  static const char* const names[] = {HEBB_OPERATIONS(HEBB_NAME)};
#undef HEBB_NAME
  return names[operation.index()];
}

bool supports(const Operations& table, const Operation& operation) {
  size_t index = 0;
#define HEBB_HAS(Type, name) \
  if (index++ == operation.index()) return table.name != nullptr;
  HEBB_OPERATIONS(HEBB_HAS)
#undef HEBB_HAS
  return false;
}

}  // namespace hebb
