// The tensor-core primitives of cuda/launch.cuh, fragment by fragment, against a plain product: every place of the
// operands holds a number of its own, and lanes read and write by the layout that the header describes. Runs on a real
// GPU too. Prints "right", or what is wrong.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "launch.cuh"

namespace hebb::cuda {
namespace {

void check(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.message().c_str());
  std::exit(1);
}
void expect(bool good, const char* what, double got, double expected) {
  if (good) return;
  std::printf("wrong result: %s is %.9g, expected %.9g\n", what, got, expected);
  std::exit(1);
}

__device__ void storeSums(float* c, float4 sums, int g, int t) {
  c[g * 8 + 2 * t] = sums.x;
  c[g * 8 + 2 * t + 1] = sums.y;
  c[(g + 8) * 8 + 2 * t] = sums.z;
  c[(g + 8) * 8 + 2 * t + 1] = sums.w;
}
__device__ float4 loadSums(const float* c, int g, int t) {
  return make_float4(c[g * 8 + 2 * t], c[g * 8 + 2 * t + 1], c[(g + 8) * 8 + 2 * t], c[(g + 8) * 8 + 2 * t + 1]);
}

/// c [16][8] += a [16][8] b [8][8], by each warp of the block for itself.
__global__ void productTf32(const float* a, const float* b, float* c) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
  float* const mine = c + threadIdx.x / kWarp * 128;
  float4 sums = loadSums(mine, g, t);
  multiplyTf32(sums,
               make_uint4(tf32Of(a[g * 8 + t]), tf32Of(a[(g + 8) * 8 + t]), tf32Of(a[g * 8 + t + 4]),
                          tf32Of(a[(g + 8) * 8 + t + 4])),
               make_uint2(tf32Of(b[t * 8 + g]), tf32Of(b[(t + 4) * 8 + g])));
  storeSums(mine, sums, g, t);
}

/// c [16][8] += a [16][16] b [16][8].
__global__ void productHalf(const float* a, const float* b, float* c) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
  float* const mine = c + threadIdx.x / kWarp * 128;
  float4 sums = loadSums(mine, g, t);
  const auto ofA = [&](int row, int k) { return halvesOf(a[row * 16 + k], a[row * 16 + k + 1]); };
  const auto ofB = [&](int k) { return halvesOf(b[k * 8 + g], b[(k + 1) * 8 + g]); };
  multiplyHalf(sums, make_uint4(ofA(g, 2 * t), ofA(g + 8, 2 * t), ofA(g, 2 * t + 8), ofA(g + 8, 2 * t + 8)),
               make_uint2(ofB(2 * t), ofB(2 * t + 8)));
  storeSums(mine, sums, g, t);
}

__global__ void convert(const float* x, int count, uint32_t* tf32, uint32_t* halves) {
  const int i = static_cast<int>(threadIdx.x);
  if (i >= count) return;
  tf32[i] = tf32Of(x[i]);
  halves[i] = halvesOf(x[i], x[(i + 1) % count]);
}

struct Device {
  std::unique_ptr<Backend> backend;
  std::vector<std::pair<void*, size_t>> held;
  template <class T>
  T* of(const std::vector<T>& host) {
    void* memory = nullptr;
    check(backend->allocate(host.size() * sizeof(T), &memory));
    check(backend->write(memory, host.data(), host.size() * sizeof(T)));
    held.push_back({memory, host.size() * sizeof(T)});
    return static_cast<T*>(memory);
  }
  template <class T>
  std::vector<T> back(const T* memory, size_t count) {
    std::vector<T> host(count);
    check(backend->read(host.data(), memory, count * sizeof(T)));
    return host;
  }
  ~Device() {
    for (auto [memory, bytes] : held) backend->release(memory, bytes);
  }
};

using Kernel = void (*)(const float*, const float*, float*);

/// Whole numbers, so that no sum is rounded; no two operands are alike.
void exactProduct(Device& device, const char* name, Kernel kernel, int depth) {
  const auto k = static_cast<size_t>(depth);
  constexpr unsigned kWarps = 3;
  std::vector<float> a(16 * k), b(k * 8), c(kWarps * 128);
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i + 1);
  for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(500 + 3 * i) * (i % 3 ? 1.f : -1.f);
  for (size_t i = 0; i < c.size(); ++i) c[i] = static_cast<float>(7 * i);
  float* const sums = device.of(c);
  check(launch(cudaOf(*device.backend), name, kernel, 1, dim3(kWarps * kWarp), 0, device.of(a), device.of(b), sums));
  const std::vector<float> actual = device.back(sums, c.size());
  for (size_t i = 0; i < c.size(); ++i) {
    double expected = c[i];
    for (size_t p = 0; p < k; ++p) expected += static_cast<double>(a[i % 128 / 8 * k + p]) * b[p * 8 + i % 8];
    expect(actual[i] == expected, name, actual[i], expected);
  }
}

/// A sum that needs more than 24 bits: within what the sources of error allow.
void roundedProduct(Device& device, const char* name, Kernel kernel, int depth) {
  const auto k = static_cast<size_t>(depth);
  std::vector<float> a(16 * k), b(k * 8), c(128, 1e-4f);
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(1024 + i * 37 % 1024) / 1024;  // ten fraction bits
  for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(1024 + i * 151 % 1024) / 1024;
  float* const sums = device.of(c);
  check(launch(cudaOf(*device.backend), name, kernel, 1, dim3(kWarp), 0, device.of(a), device.of(b), sums));
  const std::vector<float> actual = device.back(sums, c.size());
  bool cut = false;
  for (size_t i = 0; i < c.size(); ++i) {
    double expected = c[i];
    for (size_t p = 0; p < k; ++p) expected += static_cast<double>(a[i / 8 * k + p]) * b[p * 8 + i % 8];
    expect(std::fabs(actual[i] - expected) <= expected * (depth + 3) * std::ldexp(1, -24), name, actual[i], expected);
    cut = cut || actual[i] != expected;
  }
  expect(cut, "a sum of more than 24 bits", 0, 1);
}

void conversions(Device& device) {
  const float infinity = INFINITY;
  const auto scaled = [](double units, int exponent) { return static_cast<float>(std::ldexp(units, exponent)); };
  // What goes in; as tf32; as fp16.
  const struct {
    float x, tf32, half;
  } cases[] = {{0, 0, 0},
               {-1.5f, -1.5f, -1.5f},
               {1 + scaled(1, -10), 1 + scaled(1, -10), 1 + scaled(1, -10)},
               {1 + scaled(1, -11), 1 + scaled(1, -10), 1},  // a tie: away from zero, and to even
               {-1 - scaled(3, -11), -1 - scaled(2, -10), -1 - scaled(2, -10)},
               {1 + scaled(1, -12), 1, 1},
               {1 + scaled(3, -12), 1 + scaled(1, -10), 1 + scaled(1, -10)},
               {scaled(2047.75, 0), 2048, 2048},
               {70000, 70016, infinity},
               {65519, 65504, 65504},
               {65520, 65536, infinity},
               {scaled(1, -24), scaled(1, -24), scaled(1, -24)},
               {scaled(1, -25), scaled(1, -25), 0},
               {scaled(3, -26), scaled(3, -26), scaled(1, -24)},
               {scaled(1023.75, -24), scaled(1024, -24), scaled(1, -14)},
               {3.4e38f, scaled(2046, 117), infinity},
               {infinity, infinity, infinity},
               {-infinity, -infinity, -infinity}};
  std::vector<float> x;
  for (const auto& one : cases) x.push_back(one.x);
  std::vector<uint32_t> nothing(x.size());
  uint32_t *tf32 = device.of(nothing), *halves = device.of(nothing);
  check(launch(cudaOf(*device.backend), "convert", convert, 1, dim3(64), 0, device.of(x), static_cast<int>(x.size()),
               tf32, halves));
  const std::vector<uint32_t> actualTf32 = device.back(tf32, x.size()), actualHalves = device.back(halves, x.size());
  const auto half = [](uint32_t bits) {
    const int exponent = static_cast<int>(bits >> 10 & 31), fraction = static_cast<int>(bits & 1023);
    const double size = exponent == 31 ? INFINITY
                        : exponent     ? std::ldexp(1024 + fraction, exponent - 25)
                                       : std::ldexp(fraction, -24);
    return bits >> 15 & 1 ? -size : size;
  };
  for (size_t i = 0; i < x.size(); ++i) {
    float number;
    std::memcpy(&number, &actualTf32[i], sizeof number);
    expect(number == cases[i].tf32, "tf32", number, cases[i].tf32);
    const size_t next = (i + 1) % x.size();
    expect(half(actualHalves[i] & 0xffff) == cases[i].half, "the lower half", half(actualHalves[i] & 0xffff),
           cases[i].half);
    expect(half(actualHalves[i] >> 16) == cases[next].half, "the upper half", half(actualHalves[i] >> 16),
           cases[next].half);
  }
}

}  // namespace
}  // namespace hebb::cuda

int main() {
  using namespace hebb::cuda;
  Device device;
  hebb::DeviceInfo info;
  check(hebb::openCuda(0, &device.backend, &info));
  exactProduct(device, "productTf32", productTf32, 8);
  exactProduct(device, "productHalf", productHalf, 16);
  roundedProduct(device, "productTf32", productTf32, 8);
  roundedProduct(device, "productHalf", productHalf, 16);
  conversions(device);
  std::puts("right");
}
