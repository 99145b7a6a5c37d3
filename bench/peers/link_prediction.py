"""The link predictors as their formulas are written, on dense matrices in PyTorch, for bench/predictors.ts.

With A the 0/1 matrix of a layer [outputs][inputs], UU = A A^T and VV = A^T A the common neighbours of two outputs and
of two inputs, d degrees, and n(s) = 1 + s for CH2, 1 for CH3 (arXiv 2501.19107; include/hebb/link_prediction.h):

    L3n(u,v) = sum over k != u with A[k,v] = 1, UU[u,k] > 0 of n(UU[u,k]) / max(d[k] - UU[u,k], 1)
               +  the same over b != v with A[u,b] = 1
    L3p(u,v) = sum over paths u - a - k - v of sqrt(n(VV[a,v]) / (d[a] - VV[a,v])) sqrt(n(UU[u,k]) / (d[k] - UU[u,k]))

By nodes these are four dense products; by paths it is one dense product for each output u, [its inputs][outputs] times
A.

Driven over stdin: a line of JSON with the number of threads; then a line for every layer with its links as bytes behind
it, for every check with hebb's scores as bytes behind it, or for every measurement. Answers each with a line of JSON:
what runs here, the largest relative difference of a score, or the seconds of the calls.
"""

import json
import sys
import time

import torch

from blas import loaded_blas


def numerator(common, predictor):
    return 1 + common if predictor.startswith("CH2") else torch.ones_like(common)


def by_nodes(links, predictor):
    def coefficients(common):
        """[k][u]: what neuron k adds to the scores of a neuron u with which it has neighbours in common."""
        external = (common.diagonal()[:, None] - common).clamp_(min=1)
        return (numerator(common, predictor) / external * (common > 0)).fill_diagonal_(0)

    outputs = coefficients(links @ links.T)
    inputs = coefficients(links.T @ links)
    return outputs.T @ links + links @ inputs


def by_paths(links, predictor):
    def coefficients(common):
        """[k][u]: the factor of neuron k in paths that end in u. A k without a neighbour but u's is on no path to a
        missing link."""
        external = common.diagonal()[:, None] - common
        return torch.where(external > 0, (numerator(common, predictor) / external.clamp(min=1)).sqrt_(),
                           torch.zeros(()))

    outputs = coefficients(links @ links.T)
    inputs = coefficients(links.T @ links)
    scores = torch.empty_like(links)
    for u in range(len(links)):
        linked = links[u].nonzero().flatten()
        sums = (links[:, linked] * outputs[:, u : u + 1]).T @ links
        scores[u] = (sums * inputs[linked]).sum(0)
    return scores


def scores_of(links, predictor):
    """The scores of all missing links, zeros at the links that exist: [outputs][inputs]."""
    scores = by_paths(links, predictor) if predictor.endswith("p") else by_nodes(links, predictor)
    return scores.mul_(1 - links)


def answer(**fields):
    print(json.dumps(fields), flush=True)


def main():
    source = sys.stdin.buffer

    def array(dtype, count):
        return (torch.frombuffer(bytearray(source.read(4 * count)), dtype=dtype) if count
                else torch.empty(0, dtype=dtype))

    setup = json.loads(source.readline())
    torch.set_num_threads(setup["threads"])
    torch.mm(torch.randn(64, 64), torch.randn(64, 64))
    answer(torch=torch.__version__, blas=loaded_blas())
    links = torch.zeros(0, 0)
    for line in source:
        request = json.loads(line)
        if "layer" in request:
            layer = request["layer"]
            links = torch.zeros(layer["rows"], layer["cols"])
            offsets, columns = array(torch.int32, layer["rows"] + 1), array(torch.int32, layer["links"])
            links[torch.repeat_interleave(torch.arange(layer["rows"]), offsets.diff().long()), columns.long()] = 1
            answer(links=int(links.sum()))
        elif "check" in request:
            theirs = array(torch.float32, links.numel()).view_as(links)
            ours = scores_of(links, request["check"])
            difference = (ours - theirs).abs() / torch.maximum(ours, theirs)
            # 0 / 0 where both say that nothing leads there.
            answer(difference=float(torch.where((ours == 0) & (theirs == 0), torch.zeros(()), difference).max()),
                   scored=int((ours > 0).sum()))
        else:
            calls = 0
            start = time.perf_counter()
            while calls < 1 or time.perf_counter() - start < request["seconds"]:
                scores_of(links, request["predictor"])
                calls += 1
            answer(seconds=time.perf_counter() - start, calls=calls)


with torch.no_grad():
    main()
