// Sparse products, forward and transposed.
// Roofline: 2 flop a link and column; a row of X (or dY) fetched for each link from where a panel of it lies, which is
// what bounds them; the links, X and the result once. Forward reads a weight through its slot: 12 bytes a link where
// `transposed` reads 8, and a whole cache line for each weight; of one or two panels in every panel, of more once.
#include "products.h"

using namespace hebb::bench;

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  eachShape(options, [&](const Shape& shape) {
    cases.push_back({"spmm", shape, [=] { return spmm(shape); }});
    cases.push_back({"spmmTransposed", shape, [=] { return spmmTransposed(shape); }});
  });
  runAll(cases, options);
}
