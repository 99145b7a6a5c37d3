// Fusion is a pass over the recording: what is recorded stays plain, and what a device runs has fewer passes over
// memory. The bits are the same.
#include "plan.h"

namespace hebb {
namespace {

/// Copies slots into those of a group that the operation has for another one: `names` are the same in both.
void fill(Recorded* into, const std::string& group, Recorded& from, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    Slot *to = into->find(group + "." + name), *source = from.find(name);
    const std::string path = to->name;
    *to = *source;
    to->name = path;
  }
}

class Fusion {
 public:
  Fusion(std::vector<Recorded> recorded, const Values& values)
      : all_(std::move(recorded)), values_(values), gone_(all_.size(), false) {}

  std::vector<Recorded> run() {
    // Those of products first: a transposed product then goes along with its derivative.
    for (size_t i = 0; i < all_.size(); ++i) {
      if (std::holds_alternative<Relu>(all_[i].operation)) fuseForward(i, Activation::relu);
      if (std::holds_alternative<ReluGradient>(all_[i].operation)) fuseBackward(i, Activation::relu);
    }
    for (size_t i = 0; i < all_.size(); ++i) {
      if (auto* dense = std::get_if<LinearGradient>(&all_[i].operation)) {
        absorb(i, "gradient", dense->accumulate, nullptr, "fusedValues", &dense->fusedValues);
        absorb(i, "biasGradient", dense->accumulateBias, nullptr, "fusedBias", &dense->fusedBias);
      } else if (auto* sparse = std::get_if<Sddmm>(&all_[i].operation)) {
        takeTransposed(i, sparse);
        const SparseMatrix* links = all_[i].find("pattern")->links.get();
        absorb(i, "gradient", sparse->accumulate, links, "fusedValues", &sparse->fusedValues);
        absorb(i, "biasGradient", sparse->accumulateBias, nullptr, "fusedBias", &sparse->fusedBias);
      }
    }
    std::vector<Recorded> rest;
    for (size_t i = 0; i < all_.size(); ++i) {
      if (!gone_[i]) rest.push_back(std::move(all_[i]));
    }
    return rest;
  }

 private:
  /// The operation that alone writes what the slot of operation `reader` reads, which nothing else touches; or none.
  /// `wide`: memory that `reader` touches and that nothing in between does.
  Recorded* writerFor(size_t reader, const Slot& read, std::initializer_list<const Slot*> wide) {
    if (!values_.passes(read)) return nullptr;
    const size_t none = all_.size();
    size_t writer = none;
    for (size_t i = 0; i < all_.size(); ++i) {
      if (i == reader || gone_[i] || !all_[i].touches(read)) continue;
      if (writer != none || i > reader) return nullptr;
      writer = i;
    }
    if (writer == none || all_[writer].section != all_[reader].section) return nullptr;
    for (size_t i = writer; i < reader; ++i) {
      for (const Slot* slot : wide) {
        if (!gone_[i] && all_[i].touches(*slot)) return nullptr;
      }
    }
    return &all_[writer];
  }

  bool isWrittenBetween(const Recorded* from, size_t to, const Slot& what) const {
    for (const Recorded* one = from; one != &all_[to]; ++one) {
      if (gone_[static_cast<size_t>(one - all_.data())]) continue;
      for (const Slot& slot : one->slots) {
        if (slot && slot.writes() && overlap(slot, what)) return true;
      }
    }
    return false;
  }

  /// The same memory under another name.
  static void replace(Slot* slot, const Slot& by) {
    const Slot old = *slot;
    *slot = by;
    slot->name = old.name;
    slot->role = old.role;
    slot->over = old.over;
  }
  static bool isSame(const Slot& a, const Slot& b) {
    return a.buffer == b.buffer && a.first == b.first && a.count == b.count;
  }

  /// The activation function i goes along with the product whose output it reads.
  void fuseForward(size_t i, Activation activation) {
    Recorded& mine = all_[i];
    const Slot &input = *mine.find("input"), &output = *mine.find("output");
    Recorded* product = writerFor(i, input, {&output});
    if (!product) return;
    const bool fused = std::visit(
        [&](auto& op) {
          using Op = std::decay_t<decltype(op)>;
          if constexpr (std::is_same_v<Op, Spmm> || std::is_same_v<Op, Linear>) {
            if (op.activation != Activation::none || !isSame(*product->find("output"), input)) return false;
            op.activation = activation;
            op.output = std::get<Relu>(mine.operation).output;
            return true;
          } else {
            return false;
          }
        },
        product->operation);
    if (!fused) return;
    replace(product->find("output"), output);
    gone_[i] = true;
  }

  /// The derivative i goes along with the product that writes what it multiplies.
  void fuseBackward(size_t i, Activation activation) {
    Recorded& mine = all_[i];
    const auto& gradient = std::get<ReluGradient>(mine.operation);
    const Slot &output = *mine.find("output"), &outputGradient = *mine.find("outputGradient"),
               &inputGradient = *mine.find("inputGradient");
    Recorded* product = writerFor(i, outputGradient, {&inputGradient});
    if (!product || isWrittenBetween(product, i, output)) return;
    const bool fused = std::visit(
        [&](auto& op) {
          using Op = std::decay_t<decltype(op)>;
          if constexpr (std::is_same_v<Op, SpmmTransposed> || std::is_same_v<Op, LinearTransposed>) {
            if (op.activation != Activation::none || op.accumulate ||
                !isSame(*product->find("inputGradient"), outputGradient))
              return false;
            op.activation = activation;
            op.accumulate = gradient.accumulate;
            op.input = gradient.at;
            op.inputGradient = gradient.inputGradient;
            return true;
          } else {
            return false;
          }
        },
        product->operation);
    if (!fused) return;
    replace(product->find("input"), output);
    product->find("input")->role = declare::Role::reads;
    replace(product->find("inputGradient"), inputGradient);
    product->find("inputGradient")->role = inputGradient.role;
    gone_[i] = true;
  }

  /// The product just before, over the same links and rows of dY, goes along, unless it writes what the gradient is
  /// computed from.
  void takeTransposed(size_t i, Sddmm* product) {
    size_t last = i;
    while (last > 0 && gone_[last - 1]) --last;
    if (last == 0) return;
    Recorded &mine = all_[i], &before = all_[last - 1];
    const auto* transposed = std::get_if<SpmmTransposed>(&before.operation);
    if (!transposed || before.section != mine.section) return;
    if (before.find("weights")->links != mine.find("pattern")->links) return;
    const Slot &theirs = *before.find("outputGradient"), &ours = *mine.find("outputGradient");
    if (theirs.buffer != ours.buffer || theirs.first != ours.first) return;
    if (overlap(*before.find("inputGradient"), *mine.find("input")) || mine.touches(*before.find("values"))) return;
    product->fusedTransposed = *transposed;
    fill(&mine, "fusedTransposed", before, {"weights", "values", "outputGradient", "inputGradient", "input"});
    gone_[last - 1] = true;
  }

  /// Takes the SGD that alone reads a gradient into the operation i that writes it. `links`: those that the gradient
  /// belongs to, if to any.
  void absorb(size_t i, const char* gradientName, bool accumulate, const SparseMatrix* links, const char* group,
              SgdRule* into) {
    const Slot gradient = *all_[i].find(gradientName);
    if (!gradient || accumulate) return;
    const size_t none = all_.size();
    size_t reader = none;
    for (size_t j = 0; j < all_.size(); ++j) {
      if (j == i || gone_[j] || !all_[j].touches(gradient)) continue;
      if (reader != none || j < i) return;  // read twice, or by the next step
      reader = j;
    }
    const auto* optimizer = reader == none ? nullptr : std::get_if<Sgd>(&all_[reader].operation);
    if (!optimizer || all_[reader].section != all_[i].section) return;
    Recorded& sgd = all_[reader];
    if (*sgd.find("scale")) return;  // products do not scale what they write
    const Slot& read = *sgd.find("gradient");
    if (read.buffer != gradient.buffer || read.first != gradient.first || sgd.find("pattern")->links.get() != links)
      return;
    if (!links && optimizer->capacity != elementsOf(i, gradientName)) return;
    for (size_t j = i + 1; j < reader; ++j) {
      if (gone_[j]) continue;
      if (all_[j].touches(*sgd.find("values")) || all_[j].touches(*sgd.find("velocity"))) return;
      if (links && all_[j].updatesLinks(links)) return;
    }
    *into = optimizer->rule;
    fill(&all_[i], group, sgd, {"values", "velocity", "learningRate"});
    gone_[reader] = true;
  }

  /// Elements of a gradient that belongs to no links.
  int64_t elementsOf(size_t i, const std::string& gradient) const {
    if (const auto* dense = std::get_if<LinearGradient>(&all_[i].operation))
      return gradient == "gradient" ? dense->elements() : dense->outputGradient.features;
    return std::get<Sddmm>(all_[i].operation).pattern.rows;
  }

  std::vector<Recorded> all_;
  const Values& values_;
  std::vector<bool> gone_;
};

}  // namespace

std::vector<Recorded> fuse(std::vector<Recorded> recorded, const Values& values) {
  return Fusion(std::move(recorded), values).run();
}

}  // namespace hebb
