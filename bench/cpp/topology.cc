// Initial networks, made in host memory by one thread.
// Roofline: brf takes two Philox blocks a link (a proposal and its acceptance), the small world one and another for
// each link that is rewired, the scale-free network and erdosRenyi one; the links are written. That these sort is not
// counted.
#include "hebb/topology.h"

#include "fixture.h"

using namespace hebb;
using namespace hebb::bench;

int main(int argc, char** argv) {
  Options options = parse(argc, argv);
  options.threads = {1};
  std::vector<Case> cases;
  eachLayer(options, [&](const Shape& shape) {
    const int64_t links = std::llround(shape.density * shape.rows * shape.cols);
    const double count = static_cast<double>(links);
    const auto add = [&](const char* name, const auto& make, double draws) {
      cases.push_back({name, shape, [=] {
        return Work{.call = [=] {
          HostCsr host;
          must(make(&host));
        }, .items = count, .traffic = {.write = 4 * count, .draws = draws * count}};
      }});
    };
    add("bipartiteReceptiveField", [=](HostCsr* out) {
      return networks::bipartiteReceptiveField(shape.rows, shape.cols, links, {}, 1, 0, out);
    }, 2);
    add("bipartiteSmallWorld", [=](HostCsr* out) {
      return networks::bipartiteSmallWorld(shape.rows, shape.cols, links, 0.25, 1, 0, out);
    }, 1.25);
    add("bipartiteScaleFree",
        [=](HostCsr* out) { return networks::bipartiteScaleFree(shape.rows, shape.cols, links, 1, 0, out); }, 1);
    add("erdosRenyi", [=](HostCsr* out) { return networks::erdosRenyi(shape.rows, shape.cols, links, 1, 0, out); }, 1);
  });
  runAll(cases, options);
}
