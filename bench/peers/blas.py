"""Which matrix library PyTorch has loaded."""

import os
import re

import torch


def loaded_blas():
    """The matrix library this process runs: half of what makes PyTorch fast or slow on a CPU."""
    try:
        with open("/proc/self/maps") as maps:
            paths = {os.path.realpath(line.split()[-1]) for line in maps
                     if re.search(r"/(lib\w*blas|libmkl_core|libmkl_rt)", line)}
    except OSError:
        paths = set()
    names = sorted(os.path.basename(path) for path in paths if "torch" not in path)
    if names:
        return " ".join(names)
    return "MKL" if torch.backends.mkl.is_available() else "unknown"
