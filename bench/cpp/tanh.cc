// The hyperbolic tangent and its gradient.
#include "hebb/tanh.h"

#include "pointwise.h"

int main(int argc, char** argv) {
  return hebb::bench::pointwise<hebb::Tanh, hebb::TanhGradient>("tanh", "tanhGradient", argc, argv);
}
