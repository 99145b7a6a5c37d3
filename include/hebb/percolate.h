// Percolation: a neuron that lost all links on one side passes nothing on; its dangling links on the other side go too.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "hebb/csr.h"
#include "hebb/operands.h"
#include "hebb/status.h"

namespace hebb {

/// Layers whose neurons are the same: the outputs of `first` are the inputs of `second` (consecutive), or both have the
/// same outputs (joint).
struct LayerRelation {
  enum class Kind : int32_t { consecutive = 0, joint = 1 };
  int32_t first = 0, second = 0;  // places in Percolate::layers
  Kind kind = Kind::consecutive;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{integer("first", &LayerRelation::first, 0), integer("second", &LayerRelation::second, 0),
                      choice("kind", &LayerRelation::kind)};
  }
};

constexpr auto namesOf(LayerRelation::Kind) {
  using Kind = LayerRelation::Kind;
  return std::array{Named<Kind>{"consecutive", Kind::consecutive}, Named<Kind>{"joint", Kind::joint}};
}

/// Clears the flags of dangling links: backward over the relations, then forward. Layers and relations are host lists
/// of device views, in the order of the network.
struct Percolate {
  struct Layer {
    Csr links;
    uint8_t* keep = nullptr;  // [links] device, 0 or 1

    static constexpr auto operands() {
      using namespace declare;
      return std::tuple{sparse("links", &Layer::links),
                        updates("keep", &Layer::keep, perLink<&Layer::links>).transient()};
    }
  };
  std::vector<Layer> layers;
  std::vector<LayerRelation> relations;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{list("layers", &Percolate::layers, exactly<Percolate, 0>),
                      list("relations", &Percolate::relations, exactly<Percolate, 0>)};
  }

  static Status check(const Percolate& op) {
    for (const LayerRelation& r : op.relations) {
      const std::string layers = "layers " + std::to_string(r.first) + " and " + std::to_string(r.second);
      const auto count = static_cast<int32_t>(op.layers.size());
      if (r.first >= count || r.second >= count) {
        return {Code::invalidArgument,
                "Expected relations between the " + std::to_string(count) + " layers given, got one between " + layers};
      }
      if (r.first == r.second) return {Code::invalidArgument, "Expected a relation between two layers, got " + layers};
      const Csr& first = op.layers[static_cast<size_t>(r.first)].links;
      const Csr& second = op.layers[static_cast<size_t>(r.second)].links;
      if (first.rows == (r.kind == LayerRelation::Kind::joint ? second.rows : second.cols)) continue;
      const auto shape = [](const Csr& links) {
        return std::to_string(links.rows) + " x " + std::to_string(links.cols);
      };
      return {Code::invalidArgument,
              "Expected layers that share neurons, got " + layers + " of " + shape(first) + " and " + shape(second)};
    }
    return {};
  }
};

}  // namespace hebb
