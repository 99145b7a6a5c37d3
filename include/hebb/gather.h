// Picks a batch out of a data set that lies on the device.
#pragma once

#include <cstdint>
#include <string>

#include "hebb/activations.h"
#include "hebb/operands.h"
#include "hebb/status.h"
#include "hebb/step.h"

namespace hebb {

HEBB_PURPOSE(kAugmentDraws, 16);

/// Random crops and flips of images [channels][height][width], drawn anew for every place of a batch in every step. A
/// window of the image's own size is cut out of the image in a frame of `padding` zeros, as zeros are in the data, at
/// one of (2 * padding + 1)^2 places; with `flip`, left and right are then exchanged in half of the images.
struct Augmentation {
  int32_t height = 0, width = 0;  // 0: none
  int32_t padding = 0;
  bool flip = false;
  uint64_t seed = 0;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{integer("height", &Augmentation::height, 1), integer("width", &Augmentation::width, 1),
                      integer("padding", &Augmentation::padding, 0, 65535), flag("flip", &Augmentation::flip),
                      seeded(&Augmentation::seed)};
  }
};

/// What one image undergoes: its pixel (y, x) becomes that of (y + down, x + right), and with `flip` of (y + down,
/// width - 1 - x + right).
struct Cut {
  int32_t down = 0, right = 0;
  bool flip = false;
};

/// The cut of a column of the whole batch in a step: its counter is (column, step, purpose), so it is the same on every
/// backend and after a resume.
HEBB_INLINE Cut cutOf(const Augmentation& a, int64_t step, int32_t column) {
  const Philox draw = philox(a.seed, static_cast<uint32_t>(column), static_cast<uint32_t>(step),
                             static_cast<uint32_t>(step >> 32), purposeWord(kAugmentDraws, 0));
  const uint64_t places = static_cast<uint64_t>(2 * a.padding + 1);
  return {static_cast<int32_t>(draw.word[0] * places >> 32) - a.padding,
          static_cast<int32_t>(draw.word[1] * places >> 32) - a.padding, a.flip && draw.word[2] >> 31};
}

/// output[f][c] = data[indices[offset + first + c]][f] * scale + shift, where `first` is the output's first column in
/// the whole batch; zeros in the padding columns. One of bytes / floats is set. With scales and shifts, each channel
/// has its own; with an augmentation, what is read is the image after its cut.
struct Gather {
  const uint8_t* bytes = nullptr;  // [samples][features] device
  const float* floats = nullptr;   // [samples][features] device
  float scale = 1, shift = 0;
  int64_t samples = 0;
  const int32_t* indices = nullptr;  // [count] device, each a sample, in [0, samples)
  int64_t count = 0;                 // the longest stream that may be read
  const StepState* state = nullptr;  // device
  Activations output;                // [features][columns]
  int32_t channels = 1;              // features = channels * plane
  const float* scales = nullptr;     // [channels] device, or none: scale and shift for all
  const float* shifts = nullptr;     // [channels] device
  Augmentation augmentation{};       // of planes height * width

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{
        writes("output", &Gather::output, exactly<Gather, 0>).transient(),
        integer("samples", &Gather::samples, 1),
        reads("bytes", &Gather::bytes, [](const Gather& op, int64_t) { return op.samples * op.output.features; })
            .optional(),
        reads("floats", &Gather::floats, [](const Gather& op, int64_t) { return op.samples * op.output.features; })
            .optional(),
        OneOf{"bytes", "floats"},
        number("scale", &Gather::scale).optional(),
        number("shift", &Gather::shift).optional(),
        integer("count", &Gather::count, 1),
        reads("indices", &Gather::indices, numberOf<&Gather::count>),
        given(&Gather::state),
        integer("channels", &Gather::channels, 1).optional(),
        reads("scales", &Gather::scales, numberOf<&Gather::channels>).optional(),
        reads("shifts", &Gather::shifts, numberOf<&Gather::channels>).optional(),
        Together{"scales", "shifts"},
        group("augmentation", &Gather::augmentation, exactly<Gather, 0>).optional()};
  }

  static Status check(const Gather& op) {
    const auto text = [](int64_t n) { return std::to_string(n); };
    if (op.output.features % op.channels != 0) {
      return {Code::invalidArgument,
              "Expected features of " + text(op.channels) + " channels, got " + text(op.output.features)};
    }
    const Augmentation& a = op.augmentation;
    const int64_t plane = op.output.features / op.channels;
    if (a.height == 0 || int64_t{a.height} * a.width == plane) return {};
    return {Code::invalidArgument,
            "Expected images of " + text(plane) + " pixels, got " + text(a.height) + " x " + text(a.width)};
  }
};

/// targets[c] = labels[indices[offset + c]], for the whole batch.
struct GatherLabels {
  const int32_t* labels = nullptr;  // [samples] device
  int64_t samples = 0;
  const int32_t* indices = nullptr;  // [count] device, each a sample, in [0, samples)
  int64_t count = 0;                 // the longest stream that may be read
  const StepState* state = nullptr;  // device
  int32_t* targets = nullptr;        // [batch] device

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{integer("count", &GatherLabels::count, 1),
                      integer("samples", &GatherLabels::samples, 1),
                      reads("labels", &GatherLabels::labels, numberOf<&GatherLabels::samples>),
                      reads("indices", &GatherLabels::indices, numberOf<&GatherLabels::count>),
                      given(&GatherLabels::state),
                      writes("targets", &GatherLabels::targets, outside<GatherLabels>).transient()};
  }
};

/// columnWeights[c] = weights[indices[offset + c]]: how much each sample of the whole batch counts in a loss.
struct GatherWeights {
  const float* weights = nullptr;  // [samples] device
  int64_t samples = 0;
  const int32_t* indices = nullptr;  // [count] device, each a sample, in [0, samples)
  int64_t count = 0;                 // the longest stream that may be read
  const StepState* state = nullptr;  // device
  float* columnWeights = nullptr;    // [batch] device

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{integer("count", &GatherWeights::count, 1),
                      integer("samples", &GatherWeights::samples, 1),
                      reads("weights", &GatherWeights::weights, numberOf<&GatherWeights::samples>),
                      reads("indices", &GatherWeights::indices, numberOf<&GatherWeights::count>),
                      given(&GatherWeights::state),
                      writes("columnWeights", &GatherWeights::columnWeights, outside<GatherWeights>).transient()};
  }
};

}  // namespace hebb
