"""The same translator as bench/translation.ts by PyTorch's own torch.nn.Transformer, on padded batches.

Driven by bench/translation.ts over stdin: a line of JSON that describes network and batches, then a line of JSON for
every measurement. Answers each with a line of JSON: what runs here, then the seconds of each measurement.
"""

import json
import math
import sys
import time
import warnings

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from blas import loaded_blas

warnings.filterwarnings("ignore")


def sgemm_rate(rows, inner, columns):
    """GFLOP/s of the generator's product: tells a tuned matrix library from the reference one."""
    a, b = torch.randn(columns, inner), torch.randn(inner, rows)
    best = math.inf
    for _ in range(4):
        start = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - start)
    return 2 * rows * inner * columns / best * 1e-9


def sinusoids(places, features):
    angles = torch.arange(places)[:, None] * torch.exp(torch.arange(0, features, 2) * (-math.log(10000) / features))
    return torch.stack([angles.sin(), angles.cos()], 2).view(places, features)


class Translator(nn.Module):
    def __init__(self, words, features, hidden, layers, heads, dropout, places, pad):
        super().__init__()
        self.pad, self.scale = pad, math.sqrt(features)
        self.source, self.target = nn.Embedding(words, features), nn.Embedding(words, features)
        self.register_buffer("positions", sinusoids(places, features))
        self.dropout = nn.Dropout(dropout)
        self.transformer = nn.Transformer(features, heads, layers, layers, hidden, dropout, norm_first=True,
                                          batch_first=True, layer_norm_eps=1e-6)
        self.generator = nn.Linear(features, words)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def embed(self, table, tokens):
        return self.dropout(table(tokens) * self.scale + self.positions[: tokens.shape[1]])

    def forward(self, source, target):
        source_pad = source == self.pad
        causal = torch.ones(target.shape[1], target.shape[1], dtype=torch.bool).triu(1)
        decoded = self.transformer(self.embed(self.source, source), self.embed(self.target, target), tgt_mask=causal,
                                   src_key_padding_mask=source_pad, tgt_key_padding_mask=target == self.pad,
                                   memory_key_padding_mask=source_pad)
        return self.generator(decoded)


class Training:
    def __init__(self, setup):
        pad = setup["pad"]
        padded = lambda sentences: pad_sequence([torch.tensor(s) for s in sentences], True, pad)
        self.batches = [(padded(sources), padded(targets)) for sources, targets in setup["batches"]]
        places = max(tokens.shape[1] for batch in self.batches for tokens in batch)
        self.model = Translator(setup["words"], setup["features"], setup["hidden"], setup["layers"], setup["heads"],
                                setup["dropout"], places, pad)
        self.loss = nn.CrossEntropyLoss(ignore_index=pad, label_smoothing=setup["labelSmoothing"])
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=setup["learningRate"], betas=(0.9, 0.998),
                                          eps=1e-9)

    def step(self, number):
        source, target = self.batches[number % len(self.batches)]
        self.optimizer.zero_grad(set_to_none=True)
        scores = self.model(source, target[:, :-1])
        self.loss(scores.flatten(0, 1), target[:, 1:].flatten()).backward()
        self.optimizer.step()


def answer(**fields):
    print(json.dumps(fields), flush=True)


def main():
    source = sys.stdin.buffer
    setup = json.loads(source.readline())
    # The matrix library takes its own number of threads from the environment, which bench/translation.ts sets.
    torch.set_num_threads(setup["threads"])
    torch.manual_seed(0)
    training = Training(setup)
    training.step(0)
    rate = sgemm_rate(setup["words"], setup["features"], setup["tokens"])
    answer(torch=torch.__version__, blas=loaded_blas(), gflops=rate)
    for line in source:
        request = json.loads(line)
        start = time.perf_counter()
        for i in range(request["steps"]):
            training.step(request["first"] + i)
        answer(seconds=time.perf_counter() - start)


main()
