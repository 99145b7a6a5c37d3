// The weights' gradient on the links: written to an array, with the optimizer's step fused (sddmm+sgd), and as a
// training step computes it, with dX from the same pass over dY (sddmm+spmmTransposed+sgd).
// Roofline: 2 flop a link and column, twice as many with dX, and 6 for the step; a row of dY fetched for each link from
// where a panel of it lies; the links' rows, X, dY and the gradient once. The step reads and writes weight and
// velocity, and its gradient passes through memory, too.
#include "products.h"

using namespace hebb::bench;

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  eachShape(options, [&](const Shape& shape) {
    cases.push_back({"sddmm", shape, [=] { return sddmm(shape, Along::nothing); }});
    cases.push_back({"sddmm+sgd", shape, [=] { return sddmm(shape, Along::step); }});
    cases.push_back({"sddmm+spmmTransposed+sgd", shape, [=] { return sddmm(shape, Along::productAndStep); }});
  });
  runAll(cases, options);
}
