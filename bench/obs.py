"""SparseGPT's procedure in PyTorch (Algorithm 1 of arXiv 2301.00774), for bench/obs.ts to compare with.

Usage: obs.py THREADS FOLDER ROWS COLUMNS TOKENS SPARSITY. FOLDER holds x.f32 [TOKENS, COLUMNS] and w.f32 [ROWS, COLUMNS].
Each line of standard input, the tokens of a window, starts a run; the answer is a line of JSON with its seconds. What the
last run made is written to FOLDER/torch.f32.
"""

import json
import sys
import time

import numpy as np
import torch

threads, folder, rows, columns, tokens, sparsity = sys.argv[1:]
rows, columns, tokens, sparsity = int(rows), int(columns), int(tokens), float(sparsity)
torch.set_num_threads(int(threads))
load = lambda name, *shape: torch.from_numpy(np.fromfile(f"{folder}/{name}.f32", dtype=np.float32)).reshape(shape)
x, w = load("x", tokens, columns), load("w", rows, columns)


def hessian(window):
    h, seen = torch.zeros(columns, columns), 0
    for part in x.split(window):
        h *= seen / (seen + 1)
        seen += 1
        scaled = (2 / seen) ** 0.5 * part.t()
        h += scaled.matmul(scaled.t())
    return h


def factor(h, weights, damping=0.01):
    dead = h.diagonal() == 0
    h.diagonal()[dead] = 1
    weights[:, dead] = 0
    h.diagonal().add_(damping * h.diagonal().mean())
    return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)


def sweep(weights, u, size=128):
    for start in range(0, columns, size):
        end = min(start + size, columns)
        part, corner = weights[:, start:end].clone(), u[start:end, start:end]
        errors, done = torch.zeros_like(part), torch.zeros_like(part)
        score = part**2 / corner.diagonal() ** 2
        mask = score <= score.flatten().sort()[0][int(score.numel() * sparsity)]
        for i in range(end - start):
            column = part[:, i]
            kept = column.clone()
            kept[mask[:, i]] = 0
            error = (column - kept) / corner[i, i]
            part[:, i:] -= error.unsqueeze(1).matmul(corner[i, i:].unsqueeze(0))
            errors[:, i], done[:, i] = error, kept
        weights[:, start:end] = done
        weights[:, end:] -= errors.matmul(u[start:end, end:])
    return weights


print("ready", flush=True)
for line in sys.stdin:
    weights = w.clone()
    clock = [time.perf_counter()]
    h = hessian(int(line))
    clock.append(time.perf_counter())
    u = factor(h, weights)
    clock.append(time.perf_counter())
    sweep(weights, u)
    clock.append(time.perf_counter())
    weights.numpy().tofile(f"{folder}/torch.f32")
    print(json.dumps([after - before for before, after in zip(clock, clock[1:])]), flush=True)
