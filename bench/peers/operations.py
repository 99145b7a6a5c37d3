"""Single products in PyTorch, for bench/peers.ts: a CSR matrix times dense activations, and the dense product of the
same shape.

Driven over stdin: a line of JSON with the number of threads, then a line for every layer (it is made) or measurement.
Answers each with a line of JSON: what runs here, then what was made, or the seconds of the calls.
"""

import json
import sys
import time
import warnings

import torch

from blas import loaded_blas

warnings.filterwarnings("ignore", message="Sparse CSR tensor support")


def csr_of(rows, cols, density):
    """round(density * rows * cols) links at random places."""
    cells = torch.randperm(rows * cols)[: round(density * rows * cols)].sort().values
    offsets = torch.zeros(rows + 1, dtype=torch.int64)
    offsets[1:] = torch.bincount(cells.div(cols, rounding_mode="floor"), minlength=rows).cumsum(0)
    return torch.sparse_csr_tensor(offsets, cells.remainder(cols), torch.randn(len(cells)), size=(rows, cols))


def answer(**fields):
    print(json.dumps(fields), flush=True)


def main():
    setup = json.loads(sys.stdin.readline())
    torch.set_num_threads(setup["threads"])
    torch.manual_seed(0)
    products = {}
    torch.mm(torch.randn(64, 64), torch.randn(64, 64))
    answer(torch=torch.__version__, blas=loaded_blas())
    for line in sys.stdin:
        request = json.loads(line)
        if "layer" in request:
            layer = request["layer"]
            products.clear()
            x = torch.randn(layer["cols"], layer["batch"])
            dense = torch.randn(layer["rows"], layer["cols"])
            products["dense"] = lambda a=dense, b=x: torch.mm(a, b)
            try:
                sparse = csr_of(layer["rows"], layer["cols"], layer["density"])
                torch.mm(sparse, x)
                products["csr"] = lambda a=sparse, b=x: torch.mm(a, b)
                answer(made=True)
            except (RuntimeError, NotImplementedError) as error:
                answer(made=False, reason=str(error).splitlines()[0])
            continue
        product = products[request["product"]]
        product()
        calls = 0
        start = time.perf_counter()
        while calls < 1 or time.perf_counter() - start < request["seconds"]:
            product()
            calls += 1
        answer(seconds=time.perf_counter() - start, calls=calls)


main()
