// The weights' gradient on the links: written to an array, and with the optimizer's step fused (sddmm+sgd).
// Roofline: 2 flop a link and column, and 6 for the step; a row of X fetched for each link from where a panel of it lies, which is what bounds it; the links'
// columns, X, dY and the gradient once. The step reads and writes weight and velocity, and its gradient passes through memory, too.
#include "products.h"

using namespace hebb::bench;

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  eachShape(options, [&](const Shape& shape) {
    cases.push_back({"sddmm", shape, [=] { return sddmm(shape, false); }});
    cases.push_back({"sddmm+sgd", shape, [=] { return sddmm(shape, true); }});
  });
  runAll(cases, options);
}
