// The rectifier as an operation of its own, and its gradient.
#include "hebb/relu.h"

#include "pointwise.h"

int main(int argc, char** argv) {
  return hebb::bench::pointwise<hebb::Relu, hebb::ReluGradient>("relu", "reluGradient", argc, argv);
}
