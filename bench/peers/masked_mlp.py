"""The same network as bench/step.ts in PyTorch, as sparse training is simulated: dense layers whose weights, gradients
and momentum are multiplied by a mask at every step.

Driven by bench/step.ts over stdin: a line of JSON that describes network and data, then the images and the labels as
bytes, then a line of JSON for every measurement. Answers each with a line of JSON: what runs here, then the seconds of
each measurement.
"""

import json
import math
import sys
import time

import torch
from torch import nn
from torch.nn import functional

from blas import loaded_blas


def sgemm_rate(size, batch):
    """GFLOP/s of the product that a hidden layer's forward pass is: tells a tuned matrix library from the reference
    one."""
    a, b = torch.randn(size, size), torch.randn(size, batch)
    best = math.inf
    for _ in range(8):
        start = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - start)
    return 2 * size * size * batch / best * 1e-9


def masks_of(layers, density):
    """For each sparse layer round(density * size) links at random places."""
    masks = []
    for layer in layers:
        mask = torch.zeros(layer.weight.numel())
        mask[torch.randperm(mask.numel())[: round(density * mask.numel())]] = 1
        masks.append(mask.view_as(layer.weight))
    return masks


class Training:
    def __init__(self, setup, images, labels):
        self.images, self.labels, self.setup = images, labels, setup
        widths = setup["widths"]
        layers = [nn.Linear(a, b) for a, b in zip(widths, widths[1:])]
        modules = [m for layer in layers[:-1] for m in (layer, nn.ReLU())] + layers[-1:]
        self.model = nn.Sequential(*modules)
        # The last layer is dense.
        self.sparse = [layer.weight for layer in layers[:-1]]
        self.masks = masks_of(layers[:-1], setup["density"])
        with torch.no_grad():
            for layer in layers:
                nn.init.zeros_(layer.bias)
            for weight, mask in zip(self.sparse, self.masks):
                weight.normal_(0, math.sqrt(2 / (setup["density"] * weight.shape[1]))).mul_(mask)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=setup["learningRate"], momentum=0.9,
                                         weight_decay=5e-4)
        self.order = torch.randperm(len(labels))
        self.at = 0

    def step(self):
        batch = self.setup["batch"]
        if self.at + batch > len(self.order):
            self.at = 0
        index = self.order[self.at : self.at + batch]
        self.at += batch
        x = self.images[index].float().mul_(self.setup["scale"]).add_(self.setup["shift"])
        self.optimizer.zero_grad()
        loss = functional.cross_entropy(self.model(x), self.labels[index])
        loss.backward()
        with torch.no_grad():
            for weight, mask in zip(self.sparse, self.masks):
                weight.grad.mul_(mask)
            self.optimizer.step()
            for weight, mask in zip(self.sparse, self.masks):
                weight.mul_(mask)
                self.optimizer.state[weight]["momentum_buffer"].mul_(mask)
        return loss


def answer(**fields):
    print(json.dumps(fields), flush=True)


def main():
    source = sys.stdin.buffer
    setup = json.loads(source.readline())
    samples, features = setup["samples"], setup["widths"][0]
    images = torch.frombuffer(bytearray(source.read(samples * features)), dtype=torch.uint8).view(samples, features)
    labels = torch.frombuffer(bytearray(source.read(samples)), dtype=torch.uint8).long()
    # The matrix library takes its own number of threads from the environment, which bench/step.ts sets.
    torch.set_num_threads(setup["threads"])
    torch.manual_seed(0)
    training = Training(setup, images, labels)
    training.step()
    rate = sgemm_rate(setup["widths"][1], setup["batch"])
    answer(torch=torch.__version__, blas=loaded_blas(), gflops=rate)
    for line in source:
        request = json.loads(line)
        for _ in range(request["warmup"]):
            training.step()
        steps = 0
        start = time.perf_counter()
        while steps < 3 or time.perf_counter() - start < request["seconds"]:
            training.step()
            steps += 1
        answer(seconds=time.perf_counter() - start, steps=steps)


main()
