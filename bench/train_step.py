"""Train steps in PyTorch, one for each line of standard input: "NAME COUNT"; answers with the milliseconds of each step.

Models: mlp (784-300-100-10, batch 128), resnet20 (CIFAR-10, batch 128), llama (4 layers, width 256, 8 heads, gated MLP of
512, vocabulary 1024, 8 sequences of 512 tokens). SGD with momentum for the first two, AdamW for the last.
"""

import json
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
torch.manual_seed(0)


class Block(nn.Module):
    def __init__(self, inner, outer, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.grow = outer - inner

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.grow:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.grow // 2, self.grow // 2))
        return F.relu(x + y)


class ResNet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        widths = [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2 + [(32, 64, 2)] + [(64, 64, 1)] * 2
        self.blocks = nn.Sequential(*[Block(*w) for w in widths])
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = self.blocks(F.relu(self.bn1(self.conv1(x))))
        return self.linear(x.mean((2, 3)))


class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


class Layer(nn.Module):
    def __init__(self, width, heads, inner):
        super().__init__()
        self.heads = heads
        self.n1, self.n2 = Norm(width), Norm(width)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.gate, self.up = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x, cos, sin, mask):
        b, t, c = x.shape
        h = self.n1(x)
        split = lambda v: v.view(b, t, self.heads, c // self.heads).transpose(1, 2)
        half = c // self.heads // 2
        turn = lambda v: v * cos + torch.cat((-v[..., half:], v[..., :half]), -1) * sin
        q, k, v = turn(split(self.q(h))), turn(split(self.k(h))), split(self.v(h))
        a = torch.softmax(q @ k.transpose(-1, -2) * (c // self.heads) ** -0.5 + mask, -1) @ v
        x = x + self.o(a.transpose(1, 2).reshape(b, t, c))
        h = self.n2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Llama(nn.Module):
    def __init__(self, width=256, layers=4, heads=8, inner=512, vocabulary=1024, time=512):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList([Layer(width, heads, inner) for _ in range(layers)])
        self.norm = Norm(width)
        half = width // heads // 2
        angle = torch.outer(torch.arange(time).float(), 10000.0 ** (-torch.arange(half).float() / half))
        self.cos, self.sin = torch.cat((angle, angle), -1).cos(), torch.cat((angle, angle), -1).sin()
        self.mask = torch.full((time, time), -1e9).triu(1)

    def forward(self, tokens):
        x = self.embed(tokens)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin, self.mask)
        return self.norm(x) @ self.embed.weight.T


def setup(name):
    if name == "mlp":
        net = nn.Sequential(nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))
        x, y = torch.randn(128, 784), torch.randint(0, 10, (128,))
    elif name == "resnet20":
        net, x, y = ResNet20(), torch.randn(128, 3, 32, 32), torch.randint(0, 10, (128,))
    else:
        net, x = Llama(), torch.randint(0, 1024, (8, 512))
        y = torch.roll(x, -1, 1)
    optimiser = torch.optim.AdamW(net.parameters(), 1e-3) if name == "llama" else torch.optim.SGD(net.parameters(), 0.05, 0.9)

    def step():
        optimiser.zero_grad(set_to_none=True)
        out = net(x)
        loss = F.cross_entropy(out.reshape(-1, out.shape[-1]), y.reshape(-1))
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


steps = {}
for line in sys.stdin:
    name, count = line.split()
    if name not in steps:
        steps[name] = setup(name)
        steps[name]()
    times = []
    for _ in range(int(count)):
        start = time.perf_counter()
        steps[name]()
        times.append((time.perf_counter() - start) * 1000)
    print(json.dumps(times), flush=True)
