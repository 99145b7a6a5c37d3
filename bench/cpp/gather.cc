// Picking a batch out of a data set: rows at random places, transposed and converted; and the batch's labels. The batch
// moves on at every call, as in training: its rows come from memory and not from a cache that has just seen them. The
// data sets are as large as MNIST's images, or larger. Roofline: a sample's row fetched from where the data set lies,
// and every float written once. Labels: an index, a label and a target.
#include "hebb/gather.h"

#include <algorithm>
#include <numeric>

#include "fixture.h"

using namespace hebb;
using namespace hebb::bench;

namespace {

struct Stream {
  Stream(int threads, int32_t samples, int32_t batch)
      : arrays(deviceOf(threads)), count(samples), state(arrays.zeros<StepState>(1)) {
    std::vector<int32_t> order(static_cast<size_t>(samples));
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    indices = arrays.copyOf(order);
    *state = StepState{.samples = samples, .batch = batch, .axis = {batch, 0, batch}};
    advance = {.state = state, .table = arrays.zeros<double>(1), .scalars = arrays.zeros<double>(1), .width = 1};
  }
  std::function<void()> moving(const std::shared_ptr<Stream>& self) { return running(arrays.device(), advance, self); }

  Arrays arrays;
  std::mt19937 random{1};
  int32_t count;
  StepState* state;
  int32_t* indices;
  Advance advance;
};

/// What is gathered: numbers as they lie, or images that are cut and flipped, with scales by channel.
enum class Kind { bytes, floats, images };

Work gather(const Shape& shape, Kind kind, int32_t samples) {
  const bool bytes = kind != Kind::floats;
  const auto stream = std::make_shared<Stream>(shape.threads, samples, shape.batch);
  Gather op;
  if (bytes) {
    std::vector<uint8_t> data(static_cast<size_t>(samples) * static_cast<size_t>(shape.rows));
    for (uint8_t& byte : data) byte = static_cast<uint8_t>(stream->random() >> 24);
    op.bytes = stream->arrays.copyOf(data);
  } else {
    op.floats = stream->arrays.zeros<float>(int64_t{samples} * shape.rows);
  }
  op.scale = 1.f / 255;
  if (kind == Kind::images) {
    op.channels = 3;
    op.scales = stream->arrays.zeros<float>(3);
    op.shifts = stream->arrays.zeros<float>(3);
    op.augmentation = {.height = 32, .width = 32, .padding = 4, .flip = true, .seed = 1};
  }
  op.samples = samples;
  op.indices = stream->indices;
  op.count = samples;
  op.state = stream->state;
  op.output = stream->arrays.activations(shape.rows, shape.batch, &stream->state->axis);
  const double values = static_cast<double>(shape.rows) * shape.batch;
  const int32_t size = bytes ? 1 : 4;
  return {.call = running(stream->arrays.device(), op, stream),
          .item = "value",
          .items = values,
          .flop = 2 * values,
          .traffic = {.read = 4. * shape.batch,
                      .write = 4 * values,
                      .fetch = {size * values, samples, size * shape.rows, 1}},
          .before = stream->moving(stream)};
}

Work gatherLabels(const Shape& shape, int32_t samples) {
  const auto stream = std::make_shared<Stream>(shape.threads, samples, shape.batch);
  const GatherLabels op{stream->arrays.zeros<int32_t>(samples),    samples, stream->indices, samples, stream->state,
                        stream->arrays.zeros<int32_t>(shape.batch)};
  return {.call = running(stream->arrays.device(), op, stream),
          .item = "label",
          .items = static_cast<double>(shape.batch),
          .traffic = {.read = 8. * shape.batch, .write = 4. * shape.batch},
          .before = stream->moving(stream)};
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  const int32_t samples = options.quick ? 2000 : 60000;
  std::vector<Case> cases;
  for (int threads : options.threads) {
    for (const int32_t features : options.quick ? std::vector<int32_t>{784} : std::vector<int32_t>{784, 1568, 4096}) {
      for (const int32_t batch : batchesOf(options)) {
        const Shape shape{features, 0, 0, batch, threads};
        cases.push_back({"gather bytes", shape, [=] { return gather(shape, Kind::bytes, samples); }});
        cases.push_back({"gather floats", shape, [=] { return gather(shape, Kind::floats, samples / 4); }});
      }
    }
    for (const int32_t batch : batchesOf(options)) {
      const Shape shape{3 * 32 * 32, 0, 0, batch, threads};
      cases.push_back({"gather images", shape, [=] { return gather(shape, Kind::images, samples / 4); }});
      cases.push_back({"gather bytes", shape, [=] { return gather(shape, Kind::bytes, samples / 4); }});
    }
    for (const int32_t batch : batchesOf(options)) {
      const Shape shape{0, 0, 0, batch, threads};
      cases.push_back({"gatherLabels", shape, [=] { return gatherLabels(shape, samples); }});
    }
  }
  runAll(cases, options);
}
