"""Writes weightless ONNX files of small graphs beyond torchvision, for pack.mjs. Usage: python3 extra.py FOLDER

Float tensors of more than 64 elements become references into a file "weights" that does not exist; tests fill them.
"""

import io
import math
import pathlib
import sys

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional as F

KEPT = 64


def randomise(model):
    """Values for which a pruning mistake shows: scales around one, biases and statistics off zero."""
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        if not value.is_floating_point():
            continue
        if name.endswith("running_var") or (value.dim() == 1 and name.endswith("weight")):
            value.data.uniform_(0.5, 1.5)
        elif value.dim() == 1:
            value.data.uniform_(-0.1, 0.1)


def strip(model):
    offset = 0
    model.graph.ClearField("value_info")
    for node in model.graph.node:
        node.ClearField("doc_string")
    for tensor in model.graph.initializer:
        size = math.prod(tensor.dims)
        if tensor.data_type != TensorProto.FLOAT or size <= KEPT:
            continue
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "weights"), ("offset", offset), ("length", size * 4)):
            tensor.external_data.add(key=key, value=str(value))
        offset += size * 4
    return model


def export(model, inputs, names, axes, outputs=("output",), opset=17, **options):
    torch.manual_seed(0)
    model.eval()
    if not options.pop("as_is", False):
        randomise(model)
    file = io.BytesIO()
    torch.onnx.export(
        model, inputs, file, opset_version=opset, input_names=list(names), output_names=list(outputs),
        training=torch.onnx.TrainingMode.PRESERVE, dynamic_axes={n: axes for n in [*names, *outputs]} if axes else None, **options,
    )
    return onnx.load_from_string(file.getvalue())


BATCH = {0: "batch"}
MAP = {0: "batch", 2: "height", 3: "width"}
TEXT = {0: "batch", 1: "length"}


def conv(i, o, k=3, s=1, g=1, act=nn.SiLU):
    return nn.Sequential(nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(o), act())


class Recurrent(nn.Module):
    def __init__(self, kind, both):
        super().__init__()
        self.embed = nn.Linear(12, 24)
        self.rnn = kind(24, 20, num_layers=2, batch_first=True, bidirectional=both)
        self.head = nn.Linear(40 if both else 20, 7)

    def forward(self, x):
        return self.head(self.rnn(self.embed(x))[0].mean(1))


class BertLayer(nn.Module):
    def __init__(self, d=48, heads=4):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(d, d) for _ in range(4))
        self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)

    def split(self, x):
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def forward(self, x, bias):
        q, k, v = self.split(self.q(x)), self.split(self.k(x)), self.split(self.v(x))
        p = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + bias).softmax(-1)
        x = self.norm1(x + self.o((p @ v).transpose(1, 2).reshape(x.shape[0], x.shape[1], -1)))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class Bert(nn.Module):
    def __init__(self, d=48):
        super().__init__()
        self.words, self.places, self.norm = nn.Embedding(100, d), nn.Embedding(64, d), nn.LayerNorm(d)
        self.layers = nn.ModuleList(BertLayer(d) for _ in range(2))
        self.pool, self.head = nn.Linear(d, d), nn.Linear(d, 3)

    def forward(self, ids, mask):
        x = self.norm(self.words(ids) + self.places(torch.arange(ids.shape[1])))
        bias = (1 - mask[:, None, None].float()) * -10000.0
        for layer in self.layers:
            x = layer(x, bias)
        return self.head(torch.tanh(self.pool(x[:, 0])))


class RmsNorm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5))


class LlamaLayer(nn.Module):
    """Grouped-query attention with rotary embeddings by halves, and a gated MLP."""

    def __init__(self, d=64, heads=8, kv=2):
        super().__init__()
        self.heads, self.kv, self.size = heads, kv, d // heads
        self.norm1, self.norm2 = RmsNorm(d), RmsNorm(d)
        self.q, self.o = nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False)
        self.k, self.v = (nn.Linear(d, kv * self.size, bias=False) for _ in range(2))
        self.gate, self.up = (nn.Linear(d, 96, bias=False) for _ in range(2))
        self.down = nn.Linear(96, d, bias=False)

    def turn(self, x, cos, sin):
        half = self.size // 2
        return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin

    def forward(self, x, cos, sin, mask):
        b, t = x.shape[0], x.shape[1]
        y = self.norm1(x)
        q = self.turn(self.q(y).view(b, t, self.heads, self.size).transpose(1, 2), cos, sin)
        k = self.turn(self.k(y).view(b, t, self.kv, self.size).transpose(1, 2), cos, sin)
        v = self.v(y).view(b, t, self.kv, self.size).transpose(1, 2)
        many = self.heads // self.kv
        k, v = (z[:, :, None].expand(b, self.kv, many, t, self.size).reshape(b, self.heads, t, self.size) for z in (k, v))
        p = (q @ k.transpose(2, 3) / math.sqrt(self.size) + mask).softmax(-1)
        x = x + self.o((p @ v).transpose(1, 2).reshape(b, t, -1))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Llama(nn.Module):
    def __init__(self, d=64):
        super().__init__()
        self.embed = nn.Embedding(128, d)
        self.layers = nn.ModuleList(LlamaLayer(d) for _ in range(2))
        self.norm, self.head = RmsNorm(d), nn.Linear(d, 128, bias=False)
        self.register_buffer("frequency", 1e4 ** (-torch.arange(0, 8, 2) / 8))

    def forward(self, ids):
        place = torch.arange(ids.shape[1])
        angle = place[:, None] * self.frequency
        angle = torch.cat((angle, angle), -1)
        mask = (place[None, :] > place[:, None]).float() * -1e4
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x, angle.cos(), angle.sin(), mask)
        return self.head(self.norm(x))


class C2f(nn.Module):
    def __init__(self, i, o, add=True):
        super().__init__()
        self.first, self.last, self.add = conv(i, o, 1), conv(o + o // 2, o, 1), add
        self.one, self.two = conv(o // 2, o // 2), conv(o // 2, o // 2)

    def forward(self, x):
        a, b = self.first(x).chunk(2, 1)
        c = self.two(self.one(b))
        return self.last(torch.cat((a, b, b + c if self.add else c), 1))


class Sppf(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.first, self.last, self.pool = conv(c, c // 2, 1), conv(2 * c, c, 1), nn.MaxPool2d(5, 1, 2)

    def forward(self, x):
        x = self.first(x)
        y = self.pool(x)
        z = self.pool(y)
        return self.last(torch.cat((x, y, z, self.pool(z)), 1))


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(conv(3, 16, 3, 2), conv(16, 24, 3, 2), C2f(24, 24))
        self.down, self.up, self.again = nn.Sequential(conv(24, 32, 3, 2), C2f(32, 32), Sppf(32)), C2f(56, 24, False), conv(24, 24, 3, 2)
        self.merge = C2f(56, 32, False)
        self.boxes = nn.ModuleList(nn.Sequential(conv(c, 16), nn.Conv2d(16, 4, 1)) for c in (24, 32))
        self.classes = nn.ModuleList(nn.Sequential(conv(c, 16), nn.Conv2d(16, 5, 1)) for c in (24, 32))

    def forward(self, x):
        a = self.stem(x)
        b = self.down(a)
        a = self.up(torch.cat((F.interpolate(b, scale_factor=2.0, mode="nearest"), a), 1))
        b = self.merge(torch.cat((self.again(a), b), 1))
        heads = [torch.cat((box(x), cls(x)), 1).flatten(2) for x, box, cls in zip((a, b), self.boxes, self.classes)]
        box, cls = torch.cat(heads, 2).split((4, 5), 1)
        return box, cls.sigmoid(), b


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        act = nn.ReLU
        self.a, self.b, self.c = conv(3, 16, act=act), conv(16, 24, act=act), conv(24, 32, act=act)
        self.up1, self.up2 = nn.ConvTranspose2d(32, 24, 2, 2), nn.ConvTranspose2d(24, 16, 2, 2)
        self.d, self.e, self.out = conv(48, 24, act=act), conv(32, 16, act=act), nn.Conv2d(16, 2, 1)

    def forward(self, x):
        a = self.a(x)
        b = self.b(F.max_pool2d(a, 2))
        c = self.c(F.max_pool2d(b, 2))
        b = self.d(torch.cat((self.up1(c), b), 1))
        return self.out(self.e(torch.cat((self.up2(b), a), 1)))


class SqueezeBlock(nn.Module):
    def __init__(self, c, wide):
        super().__init__()
        self.up, self.depth = conv(c, wide, 1, act=nn.Hardswish), conv(wide, wide, 3, 1, wide, nn.Hardswish)
        self.one, self.two = nn.Conv2d(wide, wide // 4, 1), nn.Conv2d(wide // 4, wide, 1)
        self.down = conv(wide, c, 1, act=nn.Identity)

    def forward(self, x):
        y = self.depth(self.up(x))
        gate = F.hardsigmoid(self.two(F.relu(self.one(F.adaptive_avg_pool2d(y, 1)))))
        return x + self.down(y * gate)


class Classifier(nn.Sequential):
    def __init__(self, *layers, width, classes=10):
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def normed():
    return Classifier(
        nn.Conv2d(3, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.ReLU(), nn.Conv2d(16, 24, 3, padding=1),
        nn.InstanceNorm2d(24, affine=True), nn.PReLU(24), nn.Conv2d(24, 32, 3, padding=1, groups=4), nn.GroupNorm(1, 32), nn.ELU(), width=32,
    )


def plain():
    return Classifier(conv(3, 16, act=nn.ReLU), conv(16, 24, 3, 2, act=nn.LeakyReLU), conv(24, 32, act=nn.Sigmoid), width=32)


def upscaler():
    return nn.Sequential(nn.Conv2d(1, 24, 5, padding=2), nn.Tanh(), nn.Conv2d(24, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 36, 3, padding=1), nn.PixelShuffle(3), nn.Conv2d(4, 1, 3, padding=1))


def half(model):
    """The same graph with weights, inputs and outputs of 16 bits; the weights stay inside."""
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    model.graph.ClearField("value_info")
    return model


def constants_in_nodes(model):
    """Moves the weights into Constant nodes. They stay inside: a skeleton has no place for them."""
    nodes = [helper.make_node("Constant", [], [t.name], value=t) for t in model.graph.initializer]
    rest = list(model.graph.node)
    model.graph.ClearField("node")
    model.graph.ClearField("initializer")
    model.graph.node.extend([*nodes, *rest])
    return model


def listed_as_inputs(model):
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return model


def inside_if(model):
    """A graph that is one If on a boolean input; its weights belong to the outer graph, the other branch halves them."""
    graph = model.graph
    other = onnx.GraphProto()
    other.CopyFrom(graph)
    for sub, tag in ((graph, "then"), (other, "else")):
        inner = {o for node in sub.node for o in node.output}
        for node in sub.node:
            node.name = f"{tag}{node.name}"
            node.output[:] = [f"{tag}/{o}" for o in node.output]
            node.input[:] = [f"{tag}/{i}" if i in inner else i for i in node.input]
        for value in sub.output:
            value.name = f"{tag}/{value.name}"
    other.node.append(helper.make_node("Neg", [other.output[0].name], ["else/negated"], name="else/neg"))
    other.output[0].name = "else/negated"
    branches = [helper.make_graph(list(s.node), tag, [], list(s.output)) for s, tag in ((graph, "then"), (other, "else"))]
    choice = helper.make_node("If", ["use_first"], ["output"], name="choice", then_branch=branches[0], else_branch=branches[1])
    use = helper.make_tensor_value_info("use_first", TensorProto.BOOL, [])
    out = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 10])
    whole = helper.make_graph([choice], "inside-if", [*graph.input, use], [out], list(graph.initializer))
    return helper.make_model(whole, opset_imports=model.opset_import, ir_version=model.ir_version)


class Builder:
    """Nodes and seeded tensors of a graph written by hand."""

    def __init__(self):
        self.nodes, self.tensors, self.rng = [], [], np.random.default_rng(0)

    def weight(self, name, *shape, centre=0.0, spread=0.1):
        values = centre + self.rng.uniform(-spread, spread, shape)
        self.tensors.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def tensor(self, name, values):
        self.tensors.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, op, inputs, outputs, domain="", **attributes):
        outputs = [outputs] if isinstance(outputs, str) else outputs
        self.nodes.append(helper.make_node(op, inputs, outputs, name=f"{op}_{len(self.nodes)}", domain=domain, **attributes))
        return outputs[0]

    def finish(self, name, inputs, outputs, contrib=False):
        infos = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, dims) for n, dims in part] for part in (inputs, outputs)]
        opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid("com.microsoft", 1)] if contrib else [])
        return helper.make_model(helper.make_graph(self.nodes, name, *infos, self.tensors), opset_imports=opsets, ir_version=8)


def quantised():
    """Convolutions between QuantizeLinear and DequantizeLinear pairs, weights of 8 bits with a scale per channel."""
    b = Builder()

    def pair(x, name, scale, zero):
        s, z = b.tensor(f"{name}_scale", np.float32(scale)), b.tensor(f"{name}_zero", np.uint8(zero))
        return b.node("DequantizeLinear", [b.node("QuantizeLinear", [x, s, z], f"{name}_q"), s, z], f"{name}_dq")

    def weights(name, shape):
        q = b.tensor(f"{name}_q", b.rng.integers(-127, 128, shape).astype(np.int8))
        s = b.tensor(f"{name}_scale", b.rng.uniform(0.5, 1.5, shape[0]).astype(np.float32) / 127 / math.sqrt(math.prod(shape[1:]) / 6))
        return b.node("DequantizeLinear", [q, s, b.tensor(f"{name}_zero", np.zeros(shape[0], np.int8))], f"{name}_dq", axis=0)

    def layer(x, name, i, o, **attributes):
        w = weights(f"{name}_w", (o, i, 3, 3))
        q = b.tensor(f"{name}_b_q", b.rng.integers(-500, 500, o).astype(np.int32))
        s, z = b.tensor(f"{name}_b_scale", np.full(o, 2e-4, np.float32)), b.tensor(f"{name}_b_zero", np.zeros(o, np.int32))
        bias = b.node("DequantizeLinear", [q, s, z], f"{name}_b_dq", axis=0)
        return b.node("Conv", [x, w, bias], f"{name}_y", pads=[1, 1, 1, 1], **attributes)

    x = pair("image", "in", 1 / 32, 128)
    x = pair(b.node("Relu", [layer(x, "one", 3, 8)], "r1"), "act1", 1 / 64, 0)
    y = pair(b.node("Relu", [layer(x, "two", 8, 8, strides=[1, 1])], "r2"), "act2", 1 / 64, 0)
    y = pair(layer(y, "three", 8, 8), "act3", 1 / 32, 128)
    x = pair(b.node("Relu", [b.node("Add", [x, y], "sum")], "r3"), "act4", 1 / 48, 0)
    x = b.node("Flatten", [b.node("GlobalAveragePool", [x], "pool")], "flat")
    w = weights("fc_w", (6, 8))
    b.node("Gemm", [x, w, b.weight("fc_b", 6)], "output", transB=1)
    return b.finish("quantised", [("image", ["batch", 3, 12, 12])], [("output", ["batch", 6])])


def contrib():
    """The fused operators that ONNX Runtime's optimiser writes."""
    ms, d, b = {"domain": "com.microsoft"}, 32, Builder()
    x = b.node("Attention", ["x", b.weight("qkv", d, 3 * d), b.weight("qkv_b", 3 * d)], "attended", num_heads=4, **ms)
    x = b.node("FusedMatMul", [x, b.weight("o", d, d)], "projected", alpha=0.5, transB=1, **ms)
    x = b.node("SkipLayerNormalization", [x, "x", b.weight("g1", d, centre=1, spread=0.5), b.weight("b1", d), b.weight("o_b", d)], "n1", epsilon=1e-5, **ms)
    y = b.node("BiasGelu", [b.node("MatMul", [x, b.weight("up", d, 2 * d)], "raised"), b.weight("up_b", 2 * d)], "bent", **ms)
    y = b.node("MatMul", [y, b.weight("down", 2 * d, d)], "lowered")
    x = b.node("SkipLayerNormalization", [y, x, b.weight("g2", d, centre=1, spread=0.5), b.weight("b2", d)], "n2", epsilon=1e-5, **ms)
    q, k, v = (b.node("MatMul", [x, b.weight(f"w{n}", d, d)], n) for n in "qkv")
    y = b.node("MultiHeadAttention", [q, k, v, b.weight("mha_b", 3 * d)], "crossed", num_heads=4, **ms)
    y = b.node("QuickGelu", [b.node("MatMul", [y, b.weight("wide", d, 48)], "w")], "quick", alpha=1.702, **ms)
    y = b.node("Gelu", [b.node("MatMul", [y, b.weight("narrow", 48, d)], "n")], "gelu", **ms)
    b.node("MatMul", [b.node("Add", [x, y], "sum"), b.weight("head", d, 5)], "output")
    return b.finish("contrib", [("x", ["batch", "length", d])], [("output", ["batch", "length", 5])], contrib=True)


def image(size=32, channels=3):
    return torch.rand(2, channels, size, size)


GRAPHS = {
    "lstm": lambda: export(Recurrent(nn.LSTM, False), torch.rand(2, 9, 12), ["x"], BATCH),
    "lstm_bidirectional": lambda: export(Recurrent(nn.LSTM, True), torch.rand(2, 9, 12), ["x"], BATCH),
    "gru": lambda: export(Recurrent(nn.GRU, False), torch.rand(2, 9, 12), ["x"], BATCH),
    "gru_bidirectional": lambda: export(Recurrent(nn.GRU, True), torch.rand(2, 9, 12), ["x"], BATCH),
    "bert": lambda: export(Bert(), (torch.randint(100, (2, 11)), torch.ones(2, 11, dtype=torch.long)), ["ids", "mask"], TEXT),
    "llama": lambda: export(Llama(), torch.randint(128, (2, 11)), ["ids"], TEXT),
    "yolo": lambda: export(Detector(), image(64), ["image"], BATCH, ["boxes", "scores", "features"]),
    "unet": lambda: export(UNet(), image(), ["image"], BATCH),
    "opset9": lambda: export(plain(), image(), ["image"], BATCH, opset=9),
    "opset9_inputs": lambda: listed_as_inputs(export(plain(), image(), ["image"], BATCH, opset=9)),
    "mobilenet_se": lambda: export(Classifier(conv(3, 16, 3, 2), SqueezeBlock(16, 48), SqueezeBlock(16, 32), width=16), image(), ["image"], BATCH),
    "pixel_shuffle": lambda: export(upscaler(), image(16, 1), ["image"], BATCH),
    "half": lambda: half(export(plain(), image(), ["image"], BATCH)),
    "qdq": quantised,
    "norms": lambda: export(normed(), image(), ["image"], BATCH),
    "contrib": contrib,
    "inside_if": lambda: inside_if(export(plain(), image(), ["image"], BATCH)),
    "constant_nodes": lambda: constants_in_nodes(export(plain(), image(), ["image"], BATCH)),
    "dynamic_size": lambda: export(UNet(), image(), ["image"], MAP),
}


def main():
    torch.set_num_threads(1)
    folder = pathlib.Path(sys.argv[1])
    for name, build in GRAPHS.items():
        torch.manual_seed(0)
        model = build()
        if "com.microsoft" not in {o.domain for o in model.opset_import}:
            onnx.checker.check_model(model)
        data = strip(model).SerializeToString()
        (folder / f"{name}.onnx").write_bytes(data)
        print(f"{name}: opset {model.opset_import[0].version}, {len(model.graph.node)} nodes, {len(data)} bytes", flush=True)


if __name__ == "__main__":
    main()
