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
  Csr& csr = matrix->csr_;
  csr.rows = rows;
  csr.cols = cols;
  csr.capacity = capacity > 0 ? capacity : 1;
  const auto array = [&](int64_t count, int32_t** pointer) -> Status {
    std::shared_ptr<Buffer> buffer;
    HEBB_RETURN_IF_ERROR(device->allocate(static_cast<size_t>(count) * sizeof(int32_t), &buffer));
    *pointer = buffer->data<int32_t>();
    matrix->buffers_.push_back(std::move(buffer));
    return {};
  };
  HEBB_RETURN_IF_ERROR(array(int64_t{rows} + 1, &csr.rowOffsets));
  HEBB_RETURN_IF_ERROR(array(csr.capacity, &csr.columnIndices));
  HEBB_RETURN_IF_ERROR(array(int64_t{cols} + 1, &csr.columnOffsets));
  HEBB_RETURN_IF_ERROR(array(csr.capacity, &csr.rowIndices));
  HEBB_RETURN_IF_ERROR(array(csr.capacity, &csr.cscSlots));
  Backend& backend = device->backend();
  if (csr.capacity >= backend.denseFrom() * rows * cols) {
    int32_t* masks;
    HEBB_RETURN_IF_ERROR(array((int64_t{Tiles::count(rows)} * cols + 1) / 2, &masks));
    csr.tiles.masks = reinterpret_cast<uint16_t*>(masks);
    HEBB_RETURN_IF_ERROR(array(int64_t{Tiles::kParts} * cols, &csr.tiles.slots));
  }
  HEBB_RETURN_IF_ERROR(backend.write(csr.rowOffsets, rowOffsets, offsetCount * sizeof(int32_t)));
  HEBB_RETURN_IF_ERROR(backend.write(csr.columnIndices, columnIndices, indexCount * sizeof(int32_t)));
  HEBB_RETURN_IF_ERROR(device->run(Transpose{csr}));
  *out = std::move(matrix);
  return {};
}

Status SparseMatrix::fill(const std::function<Status(HostCsr*)>& generate) {
  HostCsr links;
  if (Status status = generate(&links); !status.ok()) {
    return device_->closing() ? Status{Code::disposed, "the device was disposed while the initial links were drawn"}
                              : status;
  }
  HEBB_RETURN_IF_ERROR(checkLinks(csr_.rows, csr_.cols, csr_.capacity, links.rowOffsets.data(), links.rowOffsets.size(),
                                  links.columnIndices.data(), links.columnIndices.size()));
  Backend& backend = device_->backend();
  HEBB_RETURN_IF_ERROR(
      backend.write(csr_.rowOffsets, links.rowOffsets.data(), links.rowOffsets.size() * sizeof(int32_t)));
  HEBB_RETURN_IF_ERROR(
      backend.write(csr_.columnIndices, links.columnIndices.data(), links.columnIndices.size() * sizeof(int32_t)));
  return device_->run(Transpose{csr_});
}

Status SparseMatrix::read(HostCsr* out) const {
  Backend& backend = device_->backend();
  out->rowOffsets.resize(static_cast<size_t>(csr_.rows) + 1);
  HEBB_RETURN_IF_ERROR(backend.read(out->rowOffsets.data(), csr_.rowOffsets, out->rowOffsets.size() * sizeof(int32_t)));
  out->columnIndices.resize(static_cast<size_t>(out->rowOffsets.back()));
  return backend.read(out->columnIndices.data(), csr_.columnIndices, out->columnIndices.size() * sizeof(int32_t));
}

}  // namespace hebb
