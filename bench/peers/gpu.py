"""What hebb's CUDA kernels are compared with: the same shapes in PyTorch on a GPU, and so in cuBLAS and cuSPARSE.

    python3 gpu.py [--json FILE] [--device cuda] [--quick]

Dense products in fp32, TF32 and bf16 (what masks on dense matrices cost), CSR products, sampled products, and the
training step of the paper's MNIST network with masks, eager and as a CUDA graph. Calls are captured as one graph where
PyTorch can capture them, else queued one after the other; timed by CUDA events, medians of 7. Ends with 3 and says why
where there is no PyTorch that sees a GPU. --quick takes tiny shapes, on the CPU too: it shows that the script works.
"""

import argparse
import json
import math
import statistics
import sys
import time
import warnings

try:
    import torch
    from torch import nn
    from torch.nn import functional
except ImportError:
    print("no PyTorch: python3 cannot import torch")
    sys.exit(3)

warnings.filterwarnings("ignore", message="Sparse CSR tensor support")

ARGUMENTS = argparse.ArgumentParser()
ARGUMENTS.add_argument("--json")
ARGUMENTS.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
ARGUMENTS.add_argument("--quick", action="store_true")
ARGUMENTS.add_argument("--seconds", type=float, default=50, help="no new case begins after so many")
OPTIONS = ARGUMENTS.parse_args()
DEVICE = torch.device(OPTIONS.device)
ON_GPU = DEVICE.type == "cuda"
if ON_GPU and not torch.cuda.is_available():
    print(f"PyTorch {torch.__version__} sees no GPU")
    sys.exit(3)
REPETITIONS = 2 if OPTIONS.quick else 7
LEAST_MS = 0 if OPTIONS.quick else 20
CALLS = 2 if OPTIONS.quick else 16
BEGAN = time.perf_counter()

rows, notes = [], []


def milliseconds(run):
    """Of what run() queues."""
    if not ON_GPU:
        start = time.perf_counter()
        run()
        return 1000 * (time.perf_counter() - start)
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def captured(call, calls):
    """`calls` calls as one CUDA graph, or None where PyTorch cannot capture them."""
    if not ON_GPU:
        return None
    try:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                call()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(calls):
                call()
        graph.replay()
        torch.cuda.synchronize()
        return graph
    except (RuntimeError, NotImplementedError):
        torch.cuda.synchronize()
        return None


def measure(operation, call, graphs=CALLS, flop=0, **shape):
    """Adds a row: `graphs` calls a graph, or 0 for calls one by one."""
    if time.perf_counter() - BEGAN > OPTIONS.seconds:
        notes.append(f"{operation} {shape}: left out, no time left")
        return
    try:
        call()
        graph = captured(call, graphs) if graphs else None

        def many(times):
            for _ in range(times):
                graph.replay() if graph else [call() for _ in range(CALLS)]

        each = graphs if graph else CALLS
        times = 1
        many(1)
        while milliseconds(lambda: many(times)) < LEAST_MS:
            times *= 2
        seconds = sorted(milliseconds(lambda: many(times)) / (1000 * times * each) for _ in range(REPETITIONS))
    except (RuntimeError, NotImplementedError) as error:
        notes.append(f"{operation} {shape}: {str(error).splitlines()[0]}")
        return
    median = statistics.median(seconds)
    name = operation
    if "rows" in shape:
        name += f"/{shape['cols']}x{shape['rows']}"
    if "density" in shape:
        name += f"/{100 * shape['density']:g}%"
    name += f"/batch:{shape['batch']}"
    rows.append(dict(name=name, operation=operation, library="PyTorch", graph=graph is not None, **shape,
                     medianSeconds=median, minSeconds=seconds[0],
                     maxSeconds=seconds[-1], **({"gflops": 1e-9 * flop / median} if flop else {})))
    print(f"{name:60} {1e6 * median:11.2f} us {1e6 * seconds[0]:11.2f} {1e6 * seconds[-1]:11.2f} "
          f"{'graph' if graph else ''}", flush=True)


def csr_of(out_features, in_features, density):
    """round(density * out * in) links at random places."""
    size = out_features * in_features
    cells = torch.randperm(size, device=DEVICE)[: round(density * size)].sort().values
    offsets = torch.zeros(out_features + 1, dtype=torch.int32, device=DEVICE)
    offsets[1:] = torch.bincount(cells.div(in_features, rounding_mode="floor"), minlength=out_features).cumsum(0)
    columns = cells.remainder(in_features).to(torch.int32)
    return torch.sparse_csr_tensor(offsets, columns, torch.randn(len(cells), device=DEVICE),
                                   size=(out_features, in_features))


def transposed(csr):
    """The same links and values, by column."""
    t = csr.to_sparse_coo().t().coalesce().to_sparse_csr()
    return torch.sparse_csr_tensor(t.crow_indices().to(torch.int32), t.col_indices().to(torch.int32), t.values(),
                                   size=t.shape)


def dense_products(out_features, in_features, batch):
    """The forward product as masks have it. The backward ones take as long each."""
    shape = dict(rows=out_features, cols=in_features, batch=batch)
    flop = 2 * out_features * in_features * batch
    w, x = torch.randn(out_features, in_features, device=DEVICE), torch.randn(in_features, batch, device=DEVICE)
    y = torch.empty(out_features, batch, device=DEVICE)
    torch.backends.cuda.matmul.allow_tf32 = False
    measure("dense fp32", lambda: torch.mm(w, x, out=y), flop=flop, **shape)
    if ON_GPU:
        torch.backends.cuda.matmul.allow_tf32 = True
        measure("dense TF32", lambda: torch.mm(w, x, out=y), flop=flop, **shape)
        torch.backends.cuda.matmul.allow_tf32 = False
    w16, x16, y16 = w.bfloat16(), x.bfloat16(), y.bfloat16()
    measure("dense bf16", lambda: torch.mm(w16, x16, out=y16), flop=flop, **shape)


def sparse_products(out_features, in_features, density, batch):
    shape = dict(rows=out_features, cols=in_features, density=density, batch=batch)
    links = round(density * out_features * in_features)
    w = csr_of(out_features, in_features, density)
    wt = transposed(w)
    x, dy = torch.randn(in_features, batch, device=DEVICE), torch.randn(out_features, batch, device=DEVICE)
    xt = x.t().contiguous()
    measure("csr", lambda: w @ x, flop=2 * links * batch, **shape)
    measure("csr transposed", lambda: wt @ dy, flop=2 * links * batch, **shape)
    # dW = dY X^T on the links.
    measure("sampled_addmm", lambda: torch.sparse.sampled_addmm(w, dy, xt, beta=0.0), flop=2 * links * batch, **shape)


class MaskedTraining:
    """The network as sparse training is simulated: dense layers; weights, gradients and momenta multiplied by masks in
    every step."""

    def __init__(self, widths, density, batch):
        samples = 2000
        self.images = torch.randint(0, 256, (samples, widths[0]), dtype=torch.uint8, device=DEVICE)
        self.labels = torch.randint(0, widths[-1], (samples,), device=DEVICE)
        self.index = torch.randperm(samples, device=DEVICE)[:batch]
        layers = [nn.Linear(a, b, device=DEVICE) for a, b in zip(widths, widths[1:])]
        self.model = nn.Sequential(*[m for layer in layers[:-1] for m in (layer, nn.ReLU())], layers[-1])
        self.sparse = [layer.weight for layer in layers[:-1]]
        self.masks = [(torch.rand_like(weight) < density).float() for weight in self.sparse]
        with torch.no_grad():
            for weight, mask in zip(self.sparse, self.masks):
                weight.normal_(0, math.sqrt(2 / (density * weight.shape[1]))).mul_(mask)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4,
                                         foreach=True)

    def step(self):
        x = self.images[self.index].float().mul_(1 / 128).sub_(1)
        self.optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(self.model(x), self.labels[self.index]).backward()
        with torch.no_grad():
            torch._foreach_mul_([weight.grad for weight in self.sparse], self.masks)
            self.optimizer.step()
            torch._foreach_mul_(self.sparse, self.masks)
            torch._foreach_mul_([self.optimizer.state[weight]["momentum_buffer"] for weight in self.sparse], self.masks)


def training_steps(widths, density, batch):
    name = "-".join(map(str, widths))
    for tf32 in (False, True) if ON_GPU else (False,):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        kind = "TF32" if tf32 else "fp32"
        for graphs in (0, 1) if ON_GPU else (0,):
            training = MaskedTraining(widths, density, batch)
            measure(f"training step {name} with masks, {kind}, {'CUDA graph' if graphs else 'eager'}",
                    training.step, graphs=graphs, density=density, batch=batch)
    torch.backends.cuda.matmul.allow_tf32 = False


def main():
    torch.manual_seed(0)
    quick = OPTIONS.quick
    name = torch.cuda.get_device_name() if ON_GPU else "CPU"
    print(f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}, {name}")
    batches = [32] if quick else [32, 128, 512]
    for batch in batches:
        training_steps([20, 34, 30, 10] if quick else [784, 1568, 1568, 1568, 10], 0.1 if quick else 0.01, batch)
    sizes = [(96, 64)] if quick else [(4096, 4096), (1568, 1568), (1568, 784)]
    for out_features, in_features in sizes:
        for batch in batches:
            dense_products(out_features, in_features, batch)
            for density in [0.05] if quick else [0.01, 0.02, 0.05, 0.1] if in_features == 4096 else [0.01]:
                sparse_products(out_features, in_features, density, batch)
    for note in notes:
        print(note)
    if OPTIONS.json:
        versions = dict(torch=torch.__version__, **({"cuda": torch.version.cuda} if torch.version.cuda else {}))
        with open(OPTIONS.json, "w", encoding="utf-8") as file:
            json.dump(dict(device=name, versions=versions, quick=quick, rows=rows, notes=notes), file)


main()
