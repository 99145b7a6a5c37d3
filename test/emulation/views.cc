// Operations on views, some rows of larger activations, give the bits that they give on activations of their own and
// leave the rows around alone: on the CPU at each of its levels, and on a GPU in each variant of its kernels.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "device.h"
#include "sparse_matrix.h"

using namespace hebb;

namespace {

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(1);
}

void check(const Status& status) {
  if (!status.ok()) fail(status.message());
}

/// A NaN, so that reading it shows in sums, whose bits no arithmetic gives.
constexpr uint32_t kForeign = 0x7fc0deadu;

/// Columns that fit, and how many of them are valid.
struct Batch {
  int32_t capacity, columns;
};

/// The operands of one operation, and what is compared of them afterwards.
class Case {
 public:
  Case(std::shared_ptr<Device> device, const Batch& batch, bool views)
      : batch(batch), device_(std::move(device)), views_(views) {
    axis_ = of<Axis>({Axis{batch.columns, 0, batch.columns}});
  }
  const Batch batch;

  template <class T>
  T* of(const std::vector<T>& host) {
    std::shared_ptr<Buffer> buffer;
    check(device_->allocate(host.size() * sizeof(T), &buffer));
    check(device_->backend().write(buffer->data(), host.data(), host.size() * sizeof(T)));
    buffers_.push_back(buffer);
    return buffer->data<T>();
  }
  /// Compared, all of them.
  float* floats(int64_t count) {
    float* const data = of(numbers(count));
    compare(data, count);
    return data;
  }

  /// What is written, too, begins with numbers. Those behind the valid columns have a gradient of 0.
  Activations activations(int32_t features, bool gradient = false) {
    Activations a{nullptr, features, batch.capacity, device_->backend().panel(batch.capacity), axis_};
    // No two operands lie alike, and one in four is no view.
    const int32_t n = static_cast<int32_t>(activations_.size()), above = n % 4 + 1, below = 2 * n + 1;
    const bool view = views_ && n % 4 != 3;
    if (view) a.pitch = above + features + below;
    std::vector<float> host = numbers(int64_t{a.panels()} * features * a.panel), all;
    for (int32_t p = 0; p < a.panels(); ++p) {
      for (int32_t c = 0; gradient && c < a.panel; ++c) {
        if (p * a.panel + c < batch.columns) continue;
        for (int32_t f = 0; f < features; ++f) host[static_cast<size_t>((p * features + f) * a.panel + c)] = 0;
      }
    }
    const auto foreign = [&](int32_t rows) {
      float number;
      std::memcpy(&number, &kForeign, sizeof number);
      all.insert(all.end(), static_cast<size_t>(rows) * static_cast<size_t>(a.panel), number);
    };
    const auto size = static_cast<ptrdiff_t>(features) * a.panel;
    for (int32_t p = 0; p < a.panels(); ++p) {
      if (view) foreign(above);
      all.insert(all.end(), host.begin() + p * size, host.begin() + (p + 1) * size);
      if (view) foreign(below);
    }
    float* const memory = of(all);
    a.data = memory + (view ? int64_t{above} * a.panel : 0);
    activations_.push_back({a, memory, view ? above : 0, all.size()});
    return a;
  }

  /// Some links in every row and column, a hub on each side.
  Csr links(int32_t rows, int32_t cols) {
    std::vector<int32_t> offsets{0}, indices;
    for (int32_t r = 0; r < rows; ++r) {
      for (int32_t c = r % 13; c < cols; c += r == 7 ? 1 : 13) indices.push_back(c);
      if (indices.back() != cols - 1) indices.push_back(cols - 1);
      offsets.push_back(static_cast<int32_t>(indices.size()));
    }
    std::shared_ptr<SparseMatrix> matrix;
    check(SparseMatrix::create(device_, rows, cols, static_cast<int32_t>(indices.size()), offsets.data(),
                               offsets.size(), indices.data(), indices.size(), &matrix));
    matrices_.push_back(matrix);
    return matrix->csr();
  }

  template <class T>
  void compare(const T* data, int64_t count) {
    arrays_.push_back({data, static_cast<size_t>(count) * sizeof(T)});
  }

  Backend& backend() { return device_->backend(); }
  void run(const Operation& operation) {
    check(device_->run(operation));
    check(device_->backend().synchronize());
  }

  /// What the operation left, an array or the rows of activations each.
  std::vector<std::vector<char>> results(const std::string& what) {
    std::vector<std::vector<char>> all;
    for (const Array& array : arrays_) {
      std::vector<char> bytes(array.bytes);
      check(device_->backend().read(bytes.data(), array.data, bytes.size()));
      all.push_back(std::move(bytes));
    }
    for (size_t i = 0; i < activations_.size(); ++i) {
      const auto& [a, memory, above, size] = activations_[i];
      const int32_t pitch = a.pitch ? a.pitch : a.features;
      std::vector<uint32_t> words(size);
      check(device_->backend().read(words.data(), memory, size * sizeof(uint32_t)));
      std::vector<char> rows;
      for (size_t at = 0; at < size; ++at) {
        const int32_t row = static_cast<int32_t>(at / static_cast<size_t>(a.panel)) % pitch - above;
        const char* const word = reinterpret_cast<const char*>(&words[at]);
        if (row >= 0 && row < a.features) rows.insert(rows.end(), word, word + sizeof(uint32_t));
        else if (words[at] != kForeign) fail(what + " wrote beside the rows of activations " + std::to_string(i));
      }
      all.push_back(std::move(rows));
    }
    return all;
  }

 private:
  struct Array {
    const void* data;
    size_t bytes;
  };
  struct Held {
    Activations view;
    float* memory;
    int32_t above;
    size_t size;
  };

  std::vector<float> numbers(int64_t count) {
    std::vector<float> host(static_cast<size_t>(count));
    for (float& number : host) {
      seed_ = seed_ * 1664525 + 1013904223;
      number = static_cast<float>(static_cast<int32_t>(seed_ >> 8) % 2001 - 1000) / 1024;
    }
    return host;
  }

  std::shared_ptr<Device> device_;
  std::vector<std::shared_ptr<Buffer>> buffers_;
  std::vector<std::shared_ptr<SparseMatrix>> matrices_;
  std::vector<Array> arrays_;
  std::vector<Held> activations_;
  Axis* axis_;
  uint32_t seed_ = 1;
  const bool views_;
};

int compared = 0;

/// Where operations are compared.
struct Place {
  std::shared_ptr<Device> device;
  std::string name;
  Batch batch;
};

void same(const Place& place, const std::string& name, const std::function<void(Case&)>& act) {
  const std::string what = name + " of " + std::to_string(place.batch.columns) + " columns on " + place.name;
  std::vector<std::vector<char>> results[2];
  for (const bool views : {false, true}) {
    Case c(place.device, place.batch, views);
    act(c);
    results[views] = c.results(what);
  }
  for (size_t i = 0; i < results[0].size(); ++i) {
    if (results[0][i] != results[1][i]) fail(what + " has other bits on views, in operand " + std::to_string(i));
  }
  ++compared;
}

/// A rule of SGD with momentum for so many parameters.
SgdRule rule(Case& c, int64_t count) { return {c.floats(count), c.floats(count), c.of<double>({0.01}), 0.9f, 0.001f}; }

void sparse(const Place& place, int32_t rows, int32_t cols) {
  for (const Activation activation : {Activation::none, Activation::relu}) {
    const bool relu = activation == Activation::relu;
    same(place, "spmm", [=](Case& c) {
      const Csr w = c.links(rows, cols);
      float *const values = c.floats(w.capacity), *const bias = relu ? c.floats(rows) : nullptr;
      c.run(Spmm{w, values, bias, c.activations(cols), c.activations(rows), activation});
    });
    const auto transposed = [=](Case& c, const Csr& w, const Activations& dy) {
      const Activations dx = c.activations(cols), x = c.activations(cols);
      return SpmmTransposed{w, c.floats(w.capacity), dy, dx, x, activation, relu};
    };
    same(place, "spmmTransposed",
         [=](Case& c) { c.run(transposed(c, c.links(rows, cols), c.activations(rows, true))); });
    for (const bool step : {false, true}) {
      for (const bool product : {false, true}) {
        same(place, "sddmm", [=](Case& c) {
          const Csr w = c.links(rows, cols);
          const Activations dy = c.activations(rows, true), x = c.activations(cols);
          const bool add = relu && !step;  // never both
          Sddmm op{w, dy, x, c.floats(w.capacity), c.floats(rows), add, add, {}, {}, {}};
          if (step) op.fusedValues = rule(c, w.capacity), op.fusedBias = rule(c, rows);
          if (product) op.fusedTransposed = transposed(c, w, dy);
          c.run(op);
        });
      }
    }
  }
}

void dense(const Place& place, int32_t m, int32_t n, DenseProduct product = DenseProduct::automatic) {
  for (const Activation activation : {Activation::none, Activation::relu}) {
    const bool relu = activation == Activation::relu;
    same(place, "linear", [=](Case& c) {
      float *const weights = c.floats(int64_t{m} * n), *const bias = relu ? c.floats(m) : nullptr;
      c.run(Linear{weights, bias, c.activations(n), c.activations(m), activation, product});
    });
    same(place, "linearTransposed", [=](Case& c) {
      const Activations dy = c.activations(m, true), dx = c.activations(n), x = c.activations(n);
      c.run(LinearTransposed{c.floats(int64_t{m} * n), dy, dx, x, activation, relu, product});
    });
    same(place, "linearGradient", [=](Case& c) {
      const Activations dy = c.activations(m, true), x = c.activations(n);
      LinearGradient op{dy, x, c.floats(int64_t{m} * n), c.floats(m), !relu, !relu, product};
      if (relu) op.fusedValues = rule(c, int64_t{m} * n), op.fusedBias = rule(c, m);
      c.run(op);
    });
  }
}

void elements(const Place& place) {
  same(place, "relu", [](Case& c) { c.run(Relu{c.activations(37), c.activations(37)}); });
  same(place, "relu in place", [](Case& c) {
    const Activations x = c.activations(37);
    c.run(Relu{x, x});
  });
  for (const bool accumulate : {false, true}) {
    same(place, "reluGradient", [=](Case& c) {
      const Activations y = c.activations(37), dy = c.activations(37, true), dx = c.activations(37);
      c.run(ReluGradient{y, dy, dx, accumulate});
    });
  }
  const auto totals = [](Case& c) {
    LossTotals* const of = c.of<LossTotals>({LossTotals{}});
    c.compare(of, 1);
    return of;
  };
  const auto columnsOf = [=](Case& c, bool isWeighted) {
    return LossColumns{.weights = isWeighted ? c.floats(c.batch.capacity) : nullptr,
                       .totals = totals(c),
                       .previous = totals(c),
                       .step = c.of<int64_t>({3})};
  };
  for (const int kind : {0, 1, 2}) {  // with a gradient, in place, without
    for (const int32_t classes : {10, 45}) {
      same(place, "softmaxCrossEntropy", [=](Case& c) {
        std::vector<int32_t> targets;
        for (int32_t i = 0; i < c.batch.capacity; ++i) targets.push_back(i * 7 % classes);
        const Activations z = c.activations(classes);
        const Activations dz = kind == 0 ? c.activations(classes) : kind == 1 ? z : Activations{};
        c.run(SoftmaxCrossEntropy{z, c.of(targets), 5, classes == 45 ? 0.1 : 0, 3, dz, columnsOf(c, kind == 0)});
      });
    }
    same(place, "meanSquaredError", [=](Case& c) {
      const Activations y = c.activations(19), target = c.activations(19);
      const Activations dy = kind == 0 ? c.activations(19) : kind == 1 ? y : Activations{};
      c.run(MeanSquaredError{y, target, dy, columnsOf(c, kind == 0)});
    });
  }
  for (const bool bytes : {false, true}) {
    for (const bool images : {false, true}) {
      same(place, "gather", [=](Case& c) {
        constexpr int32_t features = 5 * 7 * 2, samples = 200;
        std::vector<int32_t> order;
        for (int32_t i = 0; i < samples; ++i) order.push_back(i * 37 % samples);
        std::vector<uint8_t> data;
        for (int32_t i = 0; i < samples * features; ++i) data.push_back(static_cast<uint8_t>(i * 101 % 251));
        StepState state;
        state.step = 5;
        state.offset = 11;
        state.axis = {c.batch.columns, 0, c.batch.columns};
        Gather op;
        if (bytes) op.bytes = c.of(data);
        else op.floats = c.floats(samples * features);
        op.scale = 0.5f, op.shift = 0.25f;
        op.samples = op.count = samples;
        op.indices = c.of(order);
        op.state = c.of<StepState>({state});
        op.output = c.activations(features);
        if (images) {
          op.channels = 2;
          op.scales = c.floats(2), op.shifts = c.floats(2);
          op.augmentation = {5, 7, 1, true, 9};
        }
        c.run(op);
      });
    }
  }
  same(place, "regrowByGradient", [](Case& c) {
    const Csr w = c.links(67, 71);
    std::vector<uint8_t> keep;
    for (int32_t k = 0; k < w.capacity; ++k) keep.push_back(k % 3 > 0);
    const std::vector<int32_t> zeros(static_cast<size_t>(w.capacity));
    const LinkChanges changes{c.of(keep), c.of(zeros), c.of(zeros), c.of<int32_t>({0})};
    c.run(RegrowByGradient{w, changes, c.activations(71), c.activations(67, true),
                           c.of<double>({static_cast<double>(w.capacity - 5)}), c.of<double>({4}), 11, 2});
    int32_t count = 0;
    check(c.backend().read(&count, changes.newCount, sizeof count));
    if (count == 0) fail("regrowByGradient found nothing to grow");
    c.compare(changes.newCount, 1);
    c.compare(changes.newRows, count);
    c.compare(changes.newColumns, count);
  });
  same(place, "writeActivations and readActivations", [](Case& c) {
    const Activations from = c.activations(41), to = c.activations(41);
    std::vector<float> host(static_cast<size_t>(41 * c.batch.columns));
    check(c.backend().readActivations(host.data(), from, c.batch.columns));
    c.compare(c.of(host), static_cast<int64_t>(host.size()));
    check(c.backend().writeActivations(to, host.data(), c.batch.columns));
  });
}

// Several panels, the last with few valid columns or with none, and one panel, where kernels take other ways.
constexpr Batch kBatches[] = {{150, 137}, {150, 50}, {20, 19}};

void onCpu(const std::string& level, double denseFrom) {
  std::shared_ptr<Device> device;
  check(Device::openCpu({2, level, denseFrom}, &device));
  const std::string where = "the CPU, " + level + (denseFrom > 0 ? "" : ", in dense tiles");
  for (const Batch& batch : kBatches) {
    sparse({device, where, batch}, 69, 75);
    if (denseFrom == 0) continue;
    dense({device, where, batch}, 67, 141);
    elements({device, where, batch});
  }
}

/// Panels that are larger than what a core keeps near.
void far() {
  std::shared_ptr<Device> device;
  check(Device::openCpu({2, "", 2}, &device));
  sparse({device, "the CPU, far", {70, 67}}, 9, 12300);
  sparse({device, "the CPU, far", {70, 67}}, 12300, 9);
}

void onGpu(const char* product, const char* gradient) {
  setenv("HEBB_CUDA_SPMM", product, 1);
  setenv("HEBB_CUDA_SDDMM", gradient, 1);
  std::shared_ptr<Device> device;
  check(Device::openCuda(0, &device));
  const std::string where = std::string("the GPU, ") + product + ", " + gradient;
  for (const Batch& batch : kBatches) sparse({device, where, batch}, 90, 300);
}

}  // namespace

int main() {
  std::shared_ptr<Device> device;
  check(Device::openCpu({}, &device));
  const std::string levels = device->info().detail;
  for (size_t at = 0; at < levels.size();) {
    const size_t end = std::min(levels.find(", ", at), levels.size());
    onCpu(levels.substr(at, end - at), 2);
    onCpu(levels.substr(at, end - at), 0);
    at = end + 2;
  }
  far();
  onGpu("fetched", "together");
  onGpu("staged", "apart");
  check(Device::openCuda(0, &device));
  std::shared_ptr<Device> cublas;
  if (std::getenv("HEBB_CUBLAS")) check(Device::openCuda(0, &cublas, Blas::cublas));
  for (const Batch& batch : kBatches) {
    elements({device, "the GPU", batch});
    dense({device, "the GPU, narrow", batch}, 10, 141);
    dense({device, "the GPU, wide", batch}, 67, 141, DenseProduct::fma);
    dense({device, "the GPU, tensor cores", batch}, 67, 141, DenseProduct::tensorCores);
    if (cublas) dense({cublas, "the GPU, cuBLAS", batch}, 67, 141);
  }
  std::printf("%d operations alike on views\n", compared);
}
