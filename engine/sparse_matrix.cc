// Links that come from outside are checked here, and operations rely on it. A matrix that is resized gets new memory
// beside the old and changes over when its links are copied: without memory it stays what it was.
#include "sparse_matrix.h"

namespace hebb {
namespace {

Status checkLinks(int32_t rows, int32_t cols, int32_t capacity, const int32_t* offsets, size_t offsetCount,
                  const int32_t* indices, size_t indexCount) {
  const auto fail = [](const std::string& message) { return Status{Code::invalidArgument, message}; };
  if (rows < 1 || cols < 1)
    return fail("Expected a sparse matrix of at least 1 x 1, got " + std::to_string(rows) + " x " +
                std::to_string(cols));
  if (offsetCount != static_cast<size_t>(rows) + 1)
    return fail("Expected rowOffsets to have rows + 1 = " + std::to_string(rows + int64_t{1}) + " elements, got " +
                std::to_string(offsetCount));
  if (offsets[0] != 0) return fail("Expected rowOffsets to begin with 0, got " + std::to_string(offsets[0]));
  if (static_cast<int64_t>(indexCount) > capacity)
    return fail("Expected at most " + std::to_string(capacity) + " links, got " + std::to_string(indexCount));
  for (int32_t r = 0; r < rows; ++r) {
    if (offsets[r + 1] < offsets[r] || static_cast<size_t>(offsets[r + 1]) > indexCount)
      return fail("Expected rowOffsets to ascend to the number of links, got " + std::to_string(offsets[r + 1]) +
                  " after " + std::to_string(offsets[r]) + " at row " + std::to_string(r));
    for (int32_t k = offsets[r]; k < offsets[r + 1]; ++k) {
      if (indices[k] < 0 || indices[k] >= cols)
        return fail("Expected columnIndices in [0, " + std::to_string(cols) + "), got " + std::to_string(indices[k]) +
                    " in row " + std::to_string(r));
      if (k > offsets[r] && indices[k] <= indices[k - 1])
        return fail("Expected columnIndices to ascend within a row, got " + std::to_string(indices[k]) + " after " +
                    std::to_string(indices[k - 1]) + " in row " + std::to_string(r));
    }
  }
  if (static_cast<size_t>(offsets[rows]) != indexCount)
    return fail("Expected rowOffsets to end with the number of links " + std::to_string(indexCount) + ", got " +
                std::to_string(offsets[rows]));
  return {};
}

}  // namespace

Status SparseMatrix::create(const std::shared_ptr<Device>& device, int32_t rows, int32_t cols, int32_t capacity,
                            const int32_t* rowOffsets, size_t offsetCount, const int32_t* columnIndices,
                            size_t indexCount, std::shared_ptr<SparseMatrix>* out) {
  HEBB_RETURN_IF_ERROR(checkLinks(rows, cols, capacity, rowOffsets, offsetCount, columnIndices, indexCount));
  auto matrix = std::make_shared<SparseMatrix>();
  matrix->device_ = device;
  matrix->rows_ = rows;
  matrix->cols_ = cols;
  HEBB_RETURN_IF_ERROR(device->allocate((static_cast<size_t>(rows) + 1) * sizeof(int32_t), &matrix->rowOffsets_));
  HEBB_RETURN_IF_ERROR(device->allocate((static_cast<size_t>(cols) + 1) * sizeof(int32_t), &matrix->columnOffsets_));
  HEBB_RETURN_IF_ERROR(matrix->makeRoom(capacity > 0 ? capacity : 1, &matrix->room_));
  Backend& backend = device->backend();
  const Csr csr = matrix->csr();
  HEBB_RETURN_IF_ERROR(backend.write(csr.rowOffsets, rowOffsets, offsetCount * sizeof(int32_t)));
  HEBB_RETURN_IF_ERROR(backend.write(csr.columnIndices, columnIndices, indexCount * sizeof(int32_t)));
  HEBB_RETURN_IF_ERROR(device->run(Transpose{csr}));
  *out = std::move(matrix);
  return {};
}

Status SparseMatrix::makeRoom(int32_t capacity, Room* out) const {
  const auto array = [&](int64_t count, std::shared_ptr<Buffer>* buffer) {
    return device_->allocate(static_cast<size_t>(count) * sizeof(int32_t), buffer);
  };
  out->capacity = capacity;
  HEBB_RETURN_IF_ERROR(array(capacity, &out->columnIndices));
  HEBB_RETURN_IF_ERROR(array(capacity, &out->rowIndices));
  HEBB_RETURN_IF_ERROR(array(capacity, &out->cscSlots));
  if (capacity < device_->backend().denseFrom() * rows_ * cols_) return {};
  HEBB_RETURN_IF_ERROR(array((int64_t{Tiles::count(rows_)} * cols_ + 1) / 2, &out->masks));
  return array(int64_t{Tiles::kParts} * cols_, &out->slots);
}

Csr SparseMatrix::csr() const {
  std::lock_guard lock(mutex_);
  Csr csr;
  csr.rows = rows_;
  csr.cols = cols_;
  csr.capacity = room_.capacity;
  csr.rowOffsets = rowOffsets_->data<int32_t>();
  csr.columnOffsets = columnOffsets_->data<int32_t>();
  csr.columnIndices = room_.columnIndices->data<int32_t>();
  csr.rowIndices = room_.rowIndices->data<int32_t>();
  csr.cscSlots = room_.cscSlots->data<int32_t>();
  if (room_.masks) csr.tiles = {room_.masks->data<uint16_t>(), room_.slots->data<int32_t>()};
  return csr;
}

int64_t SparseMatrix::bytes() const {
  std::lock_guard lock(mutex_);
  int64_t sum = 0;
  for (const auto& buffer :
       {rowOffsets_, columnOffsets_, room_.columnIndices, room_.rowIndices, room_.cscSlots, room_.masks, room_.slots}) {
    if (buffer) sum += static_cast<int64_t>(buffer->bytes());
  }
  return sum;
}

Status SparseMatrix::resize(int32_t capacity) {
  const Csr before = csr();
  if (capacity == before.capacity) return {};
  Backend& backend = device_->backend();
  int32_t links = 0;
  HEBB_RETURN_IF_ERROR(backend.read(&links, before.rowOffsets + rows_, sizeof links));
  if (capacity < 1 || capacity < links) {
    return {Code::invalidArgument,
            "Expected room for the " + std::to_string(links) + " links of the matrix, got " + std::to_string(capacity)};
  }
  Room room;
  HEBB_RETURN_IF_ERROR(makeRoom(capacity, &room));
  const size_t bytes = static_cast<size_t>(links) * sizeof(int32_t);
  HEBB_RETURN_IF_ERROR(backend.copy(room.columnIndices->data(), before.columnIndices, bytes));
  HEBB_RETURN_IF_ERROR(backend.copy(room.rowIndices->data(), before.rowIndices, bytes));
  HEBB_RETURN_IF_ERROR(backend.copy(room.cscSlots->data(), before.cscSlots, bytes));
  const bool hasNewTiles = room.masks && !room_.masks;
  if (room.masks && room_.masks) {
    HEBB_RETURN_IF_ERROR(backend.copy(room.masks->data(), room_.masks->data(), room.masks->bytes()));
    HEBB_RETURN_IF_ERROR(backend.copy(room.slots->data(), room_.slots->data(), room.slots->bytes()));
  }
  {
    std::lock_guard lock(mutex_);
    std::swap(room_, room);
  }
  ++generation_;
  device_->noteMove();
  return hasNewTiles ? device_->run(Transpose{csr()}) : Status{};
}

Status SparseMatrix::fill(const std::function<Status(HostCsr*)>& generate) {
  HostCsr links;
  if (Status status = generate(&links); !status.ok()) {
    return device_->closing() ? Status{Code::disposed, "the device was disposed while the initial links were drawn"}
                              : status;
  }
  const Csr csr = this->csr();
  HEBB_RETURN_IF_ERROR(checkLinks(csr.rows, csr.cols, csr.capacity, links.rowOffsets.data(), links.rowOffsets.size(),
                                  links.columnIndices.data(), links.columnIndices.size()));
  Backend& backend = device_->backend();
  HEBB_RETURN_IF_ERROR(
      backend.write(csr.rowOffsets, links.rowOffsets.data(), links.rowOffsets.size() * sizeof(int32_t)));
  HEBB_RETURN_IF_ERROR(
      backend.write(csr.columnIndices, links.columnIndices.data(), links.columnIndices.size() * sizeof(int32_t)));
  return device_->run(Transpose{csr});
}

Status SparseMatrix::read(HostCsr* out) const {
  Backend& backend = device_->backend();
  const Csr csr = this->csr();
  out->rowOffsets.resize(static_cast<size_t>(csr.rows) + 1);
  HEBB_RETURN_IF_ERROR(backend.read(out->rowOffsets.data(), csr.rowOffsets, out->rowOffsets.size() * sizeof(int32_t)));
  out->columnIndices.resize(static_cast<size_t>(out->rowOffsets.back()));
  return backend.read(out->columnIndices.data(), csr.columnIndices, out->columnIndices.size() * sizeof(int32_t));
}

}  // namespace hebb
