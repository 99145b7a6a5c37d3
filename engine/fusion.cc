// Fusion is a pass over the recording: what is recorded stays plain, and what a device runs has fewer passes over
// memory. The bits are the same.
#include "recorded.h"

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
  explicit Fusion(std::vector<Recorded> recorded) : all_(std::move(recorded)), gone_(all_.size(), false) {}

  std::vector<Recorded> run() {
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
  /// The product just before, over the same links and rows of dY, goes along, unless it writes what the gradient is
  /// computed from.
  void takeTransposed(size_t i, Sddmm* product) {
    if (i == 0 || gone_[i - 1]) return;
    Recorded &mine = all_[i], &before = all_[i - 1];
    const auto* transposed = std::get_if<SpmmTransposed>(&before.operation);
    if (!transposed || before.find("weights")->links != mine.find("pattern")->links) return;
    const Slot &theirs = *before.find("outputGradient"), &ours = *mine.find("outputGradient");
    if (theirs.buffer != ours.buffer || theirs.first != ours.first) return;
    if (overlap(*before.find("inputGradient"), *mine.find("input")) || mine.touches(*before.find("values"))) return;
    product->fusedTransposed = *transposed;
    fill(&mine, "fusedTransposed", before, {"weights", "values", "outputGradient", "inputGradient", "input"});
    gone_[i - 1] = true;
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
    if (!optimizer) return;
    Recorded& sgd = all_[reader];
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
  std::vector<bool> gone_;
};

}  // namespace

std::vector<Recorded> fuse(std::vector<Recorded> recorded) { return Fusion(std::move(recorded)).run(); }

}  // namespace hebb
