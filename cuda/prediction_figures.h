// What decides between the routes of link prediction on a GPU: measured times, and nothing else. A later measurement
// replaces this file alone.
//
// Measured on an NVIDIA H100 80GB HBM3 (132 multiprocessors, driver CUDA 13.0), 2026-11-28, by bench/gpu/kernels.cc:
// whole updates by CH2-L3n that replace 30% of the links of a BRF network, 1568 x 1568 and 4096 x 4096 at 1%, 2% and
// 5%. Least squares of the relative error over the six medians of each route, the figures positive; links are those
// before the update. The dense route's times are met within 2%, the sparse one's within 20%, as far as these vary from
// run to run. Everything else is extrapolated: smaller and larger layers, ones that are not square, other densities and
// other GPUs. A layer too small to fill the GPU takes longer than this says by the sparse route, not by the dense one.
#pragma once

#include <cstdint>

namespace hebb::cuda::prediction_figures {

// Seconds.
inline constexpr double kUpdate = 375e-6;       // an update without scores
inline constexpr double kPath = 17.0e-12;       // sparse: a path of length three
inline constexpr double kPathAgain = 6.4e-12;   // sparse: it is walked again for every further part of a row's columns
inline constexpr double kLookUp = 11.5e-12;     // sparse: a link of a column that a row's paths lead to
inline constexpr double kTileLaunches = 20e-6;  // dense: five launches more, 4 us each; the fit has them in kUpdate
inline constexpr double kTileStep = 4.10e-6;    // dense: 64 neurons of as many tiles as are worked on at once
inline constexpr double kTileLink = 0.80e-9;    // dense: a link

inline constexpr int64_t kTilesAtOnce = 264;  // two on each multiprocessor

}  // namespace hebb::cuda::prediction_figures
