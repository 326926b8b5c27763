"""What the models of this folder share, written from papers and configs for float64: weights drawn as they are asked for."""

import json
import math
import struct
import zlib

import numpy as np
import torch
from torch.nn import functional as F

torch.set_default_dtype(torch.float64)


class Weights:
    """Parameters by name, drawn at their first use, as the nearest bfloat16: scales near one, matrices by fan-in."""

    def __init__(self, seed, dtype=torch.bfloat16):
        self.seed, self.dtype, self.tensors = seed, dtype, {}

    def __call__(self, name, *shape, spread=1.0, around=None):
        if name not in self.tensors:
            g = torch.Generator().manual_seed(self.seed * 1_000_003 + zlib.crc32(name.encode()))
            x = torch.randn(shape, generator=g)
            if around is not None:
                x = around + 0.2 * x
            elif len(shape) == 1:
                x = 0.2 * x
            else:
                x = x * spread / math.sqrt(shape[-1])
            self.tensors[name] = x.to(self.dtype)
        assert tuple(self.tensors[name].shape) == shape, name
        return self.tensors[name].double()


def save(tensors, path):
    """A safetensors file."""
    names = {torch.bfloat16: "BF16", torch.float32: "F32", torch.float16: "F16", torch.int64: "I64"}
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name in sorted(tensors, key=lambda n: (-tensors[n].element_size(), n)):
        t = tensors[name].contiguous()
        raw = t.view(torch.int16) if t.dtype == torch.bfloat16 else t
        data = raw.numpy().tobytes()
        header[name] = {"dtype": names[t.dtype], "shape": list(t.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def linear(w, name, x, outputs, bias=False):
    y = x @ w(f"{name}.weight", outputs, x.shape[-1]).T
    return y + w(f"{name}.bias", outputs) if bias else y


def rms(w, name, x, eps, shift=0.0):
    gain = w(name, x.shape[-1], around=1.0 - shift) + shift
    return gain * x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps)


def layer_norm(w, name, x, eps, bias=True):
    n = x.shape[-1]
    return F.layer_norm(x, (n,), w(f"{name}.weight", n, around=1.0), w(f"{name}.bias", n) if bias else None, eps)


def heads(x, count):
    """[batch, time, count * size] -> [batch, count, time, size]"""
    return x.reshape(*x.shape[:2], count, -1).transpose(1, 2)


def unheads(x):
    return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], -1)


def allowed(time, causal=True, window=None, mask=None):
    """bool [batch or 1, 1, time, time]: query (row) may see key (column)."""
    i, j = torch.arange(time)[:, None], torch.arange(time)[None, :]
    ok = (j <= i) if causal else torch.ones(time, time, dtype=torch.bool)
    if window is not None:
        ok = ok & ((i - j < window) if causal else ((i - j).abs() <= window))
    ok = ok[None, None]
    return ok if mask is None else ok & (mask[:, None, None] != 0)


def softmax_attention(q, k, v, ok, scale, cap=None):
    """Scaled dot products in each head; keys and values of fewer heads serve several queries each."""
    many = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(many, 1), v.repeat_interleave(many, 1)
    s = q @ k.transpose(-1, -2) * scale
    if cap is not None:
        s = cap * torch.tanh(s / cap)
    return s.masked_fill(~ok, float("-inf")).softmax(-1) @ v


def frequencies(size, theta):
    return theta ** (-torch.arange(0, size, 2).double() / size)


def rotate(x, freqs, amplitude=1.0, interleaved=False, positions=None):
    """Turns the first 2 * len(freqs) features of each head. x: [batch, heads, time, size]"""
    n = 2 * len(freqs)
    time = torch.arange(x.shape[2]).double() if positions is None else positions
    angle = time[:, None] * freqs
    cos, sin = angle.cos() * amplitude, angle.sin() * amplitude
    turning, rest = x[..., :n], x[..., n:]
    if interleaved:
        a, b = turning[..., 0::2], turning[..., 1::2]
        turned = torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)
    else:
        a, b = turning[..., : n // 2], turning[..., n // 2 :]
        turned = torch.cat((a * cos - b * sin, b * cos + a * sin), -1)
    return torch.cat((turned, rest), -1)


def gelu_tanh(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


ACTIVATIONS = {"silu": F.silu, "gelu": F.gelu, "gelu_new": gelu_tanh, "gelu_pytorch_tanh": gelu_tanh, "relu": F.relu}


def glu(w, name, x, inner, act="silu", bias=False, names=("gate_proj", "up_proj", "down_proj")):
    gate, up, down = (f"{name}.{n}" for n in names)
    h = ACTIVATIONS[act](linear(w, gate, x, inner, bias)) * linear(w, up, x, inner, bias)
    return linear(w, down, h, x.shape[-1], bias)


def scaled_frequencies(size, theta, scaling, positions, time):
    """Frequencies and amplitude for each kind of rotary scaling, at a sequence of `time` tokens."""
    f = frequencies(size, theta)
    kind = (scaling or {}).get("rope_type", "default")
    if kind == "default":
        return f, 1.0
    if kind == "linear":
        return f / scaling["factor"], 1.0
    if kind == "dynamic":
        n = max(time, positions)
        base = theta * (scaling["factor"] * n / positions - (scaling["factor"] - 1)) ** (size / (size - 2))
        return frequencies(size, base), 1.0
    if kind == "llama3":
        low, high, old = scaling["low_freq_factor"], scaling["high_freq_factor"], scaling["original_max_position_embeddings"]
        out = []
        for x in f.tolist():
            wave = 2 * math.pi / x
            if wave < old / high:
                out.append(x)
            elif wave > old / low:
                out.append(x / scaling["factor"])
            else:
                smooth = (old / wave - low) / (high - low)
                out.append((1 - smooth) * x / scaling["factor"] + smooth * x)
        return torch.tensor(out), 1.0
    if kind == "yarn":
        factor, old = scaling["factor"], scaling["original_max_position_embeddings"]
        pair = lambda turns: size * math.log(old / (turns * 2 * math.pi)) / (2 * math.log(theta))
        low = max(math.floor(pair(scaling.get("beta_fast", 32))), 0)
        high = min(math.ceil(pair(scaling.get("beta_slow", 1))), size - 1)
        ramp = ((torch.arange(size // 2).double() - low) / max(high - low, 0.001)).clamp(0, 1)
        m = lambda s: 1.0 if factor <= 1 else 0.1 * s * math.log(factor) + 1
        if scaling.get("mscale") and scaling.get("mscale_all_dim"):
            amplitude = m(scaling["mscale"]) / m(scaling["mscale_all_dim"])
        else:
            amplitude = m(1)
        return f / factor * ramp + f * (1 - ramp), amplitude
    if kind == "longrope":
        old = scaling["original_max_position_embeddings"]
        factors = scaling["long_factor"] if time > old else scaling["short_factor"]
        factor = positions / old
        return f / torch.tensor(factors), math.sqrt(1 + math.log(factor) / math.log(old)) if factor > 1 else 1.0
    raise ValueError(kind)
