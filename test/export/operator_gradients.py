"""
Writes test/fixtures/operator-gradients.json.gz: gradients of single operators as PyTorch computes them in float64.

Each case names an ONNX operator with its attributes and inputs, the weights w of the loss sum(w * y), and the gradient of
the loss for every float input. Run with Debian's python3-torch 1.13: python3 test/export/operator_gradients.py
"""
import gzip
import json
from pathlib import Path

import torch
import torch.nn.functional as F

torch.manual_seed(20)
cases = []


def rand(*shape, low=-1.5, high=1.5):
    return ((torch.rand(shape, dtype=torch.float64) * (high - low) + low) * 1e4).round() / 1e4


def distinct(*shape):
    n = torch.Size(shape).numel()
    return (torch.randperm(n).double().reshape(shape) / n * 4 - 2).mul(1e4).round() / 1e4


def attribute(value):
    if isinstance(value, str):
        return {"kind": "string", "value": value}
    if isinstance(value, int):
        return {"kind": "int", "value": value}
    if isinstance(value, float):
        return {"kind": "float", "value": value}
    return {"kind": "ints" if all(isinstance(v, int) for v in value) else "floats", "value": list(value)}


def numbers(tensor):
    return [float(f"{v:.9g}") for v in tensor.detach().reshape(-1).tolist()]


def case(op, form, function, inputs, **attributes):
    """inputs: float tensors, which are differentiated; integer tensors; None. Constants: ("const", tensor)."""
    leaves = [x.clone().requires_grad_() if isinstance(x, torch.Tensor) and x.is_floating_point() else x for x in inputs]
    y = function(*[x[1] if isinstance(x, tuple) else x for x in leaves])
    weights = rand(*y.shape, low=0.5)
    (y * weights).sum().backward()
    written = []
    for x in leaves:
        if x is None:
            written.append(None)
        elif isinstance(x, tuple):
            written.append({"shape": list(x[1].shape), "floats": numbers(x[1])})
        elif x.is_floating_point():
            written.append({"shape": list(x.shape), "values": numbers(x), "gradient": numbers(x.grad)})
        else:
            written.append({"shape": list(x.shape), "ints": x.reshape(-1).tolist()})
    cases.append({
        "op": op,
        "form": form,
        "attributes": {name: attribute(value) for name, value in attributes.items()},
        "inputs": written,
        "weights": numbers(weights),
    })


def ints(*values):
    return torch.tensor(values, dtype=torch.int64)


# Convolutions
for form, x, w, stride, pad, dilation, group in [
    ("3x3", (2, 3, 7, 6), (4, 3, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ("many channels", (2, 9, 5, 5), (6, 9, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ("strided", (2, 3, 8, 7), (4, 3, 3, 3), (2, 2), (1, 1), (1, 1), 1),
    ("dilated", (1, 3, 9, 8), (4, 3, 3, 2), (1, 2), (2, 1), (2, 3), 1),
    ("groups", (2, 4, 6, 5), (6, 2, 3, 3), (2, 1), (1, 0), (1, 1), 2),
    ("depthwise", (2, 5, 6, 5), (5, 1, 3, 3), (1, 1), (1, 1), (1, 1), 5),
    ("depthwise, strided", (2, 5, 6, 5), (5, 1, 5, 5), (2, 2), (2, 2), (1, 1), 5),
    ("pointwise", (2, 3, 4, 5), (6, 3, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    ("pointwise, strided", (2, 3, 5, 5), (6, 3, 1, 1), (2, 2), (0, 0), (1, 1), 1),
    ("7x7", (1, 3, 14, 15), (4, 3, 7, 7), (2, 2), (3, 3), (1, 1), 1),
    ("patches", (1, 3, 12, 12), (5, 3, 4, 4), (4, 4), (0, 0), (1, 1), 1),
    ("small image", (4, 8, 2, 2), (16, 8, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ("one axis", (2, 3, 11), (4, 3, 4), (3,), (2,), (2,), 1),
    ("three axes", (1, 2, 5, 4, 6), (3, 2, 3, 2, 3), (2, 1, 2), (1, 0, 1), (1, 2, 1), 1),
]:
    function = [F.conv1d, F.conv2d, F.conv3d][len(x) - 3]
    case("Conv", form, lambda a, b, c: function(a, b, c, stride, pad, dilation, group), [rand(*x), rand(*w), rand(w[0])],
         strides=stride, pads=pad + pad, dilations=dilation, group=group)

for form, x, w, stride, pad, extra, group, dilation in [
    ("strided", (2, 3, 4, 3), (3, 4, 3, 2), (2, 2), (1, 0), (0, 0), 1, (1, 1)),
    ("output padding", (2, 3, 4, 3), (3, 4, 3, 3), (2, 3), (1, 1), (1, 2), 1, (1, 1)),
    ("groups, dilated", (1, 4, 4, 3), (4, 3, 2, 3), (1, 2), (0, 1), (0, 1), 2, (2, 1)),
]:
    case("ConvTranspose", form, lambda a, b, c: F.conv_transpose2d(a, b, c, stride, pad, extra, group, dilation),
         [rand(*x), rand(*w), rand(w[1] * group)],
         strides=stride, pads=pad + pad, output_padding=extra, group=group, dilations=dilation)

# Pooling
for form, x, k, s, p, ceil in [
    ("tiles", (2, 3, 6, 4), (2, 2), (2, 2), (0, 0), False),
    ("overlapping", (2, 3, 7, 8), (3, 3), (2, 2), (1, 1), False),
    ("ceil", (1, 2, 6, 7), (3, 3), (2, 2), (0, 0), True),
    ("single steps", (1, 2, 5, 6), (3, 3), (1, 1), (1, 1), False),
]:
    shared = dict(kernel_shape=k, strides=s, pads=p + p, ceil_mode=int(ceil))
    case("MaxPool", form, lambda a: F.max_pool2d(a, k, s, p, 1, ceil), [distinct(*x)], **shared)
    case("AveragePool", form, lambda a: F.avg_pool2d(a, k, s, p, ceil, False), [rand(*x)], **shared)
    case("AveragePool", form + ", padding counted", lambda a: F.avg_pool2d(a, k, s, p, ceil, True), [rand(*x)],
         count_include_pad=1, **shared)
case("MaxPool", "dilated", lambda a: F.max_pool2d(a, (2, 3), (1, 2), 0, (2, 1)), [distinct(1, 2, 6, 7)],
     kernel_shape=(2, 3), strides=(1, 2), dilations=(2, 1))
case("GlobalAveragePool", "plane", lambda a: a.mean((2, 3), keepdim=True), [rand(2, 3, 4, 5)])
case("GlobalMaxPool", "plane", lambda a: a.amax((2, 3), keepdim=True), [distinct(2, 3, 4, 5)])

# Norms
case("BatchNormalization", "given statistics",
     lambda x, s, b, m, v: F.batch_norm(x, m, v, s, b, False, 0.1, 1e-3),
     [rand(3, 4, 2, 3), rand(4), rand(4), ("const", rand(4)), ("const", rand(4, low=0.5, high=2))], epsilon=1e-3)
case("LayerNormalization", "last axis", lambda x, s, b: F.layer_norm(x, (6,), s, b, 1e-5), [rand(4, 6), rand(6), rand(6)],
     axis=-1, epsilon=1e-5)
case("LayerNormalization", "two axes", lambda x, s, b: F.layer_norm(x, (3, 4), s, b, 1e-2),
     [rand(2, 3, 4), rand(3, 4), rand(3, 4)], axis=1, epsilon=1e-2)
case("InstanceNormalization", "plane", lambda x, s, b: F.instance_norm(x, None, None, s, b, True, 0.1, 1e-4),
     [rand(2, 3, 4, 5), rand(3), rand(3)], epsilon=1e-4)
case("GroupNormalization", "two groups", lambda x, s, b: F.group_norm(x, 2, s, b, 1e-4),
     [rand(2, 6, 3, 2), rand(6), rand(6)], num_groups=2, epsilon=1e-4)
case("LRN", "five", lambda x: F.local_response_norm(x, 5, 0.3, 0.75, 1.2), [rand(2, 7, 3, 2)],
     size=5, alpha=0.3, beta=0.75, bias=1.2)
case("Softmax", "axis 1", lambda x: F.softmax(x, 1), [rand(2, 5, 3)], axis=1)
case("LogSoftmax", "last axis", lambda x: F.log_softmax(x, -1), [rand(3, 7)], axis=-1)

# Activations
for op, function, attributes in [
    ("Relu", F.relu, {}), ("Sigmoid", torch.sigmoid, {}), ("Tanh", torch.tanh, {}), ("Erf", torch.erf, {}),
    ("Gelu", F.gelu, {}), ("HardSwish", F.hardswish, {}), ("Mish", F.mish, {}), ("Softplus", F.softplus, {}),
    ("Elu", lambda x: F.elu(x, 0.7), {"alpha": 0.7}), ("Selu", F.selu, {}), ("Celu", lambda x: F.celu(x, 1.4), {"alpha": 1.4}),
    ("LeakyRelu", lambda x: F.leaky_relu(x, 0.1), {"alpha": 0.1}), ("Softsign", F.softsign, {}),
    ("HardSigmoid", F.hardsigmoid, {"alpha": 1 / 6, "beta": 0.5}),
    ("Gelu", lambda x: F.gelu(x, approximate="tanh"), {"approximate": "tanh"}),
    ("Sin", torch.sin, {}), ("Cos", torch.cos, {}), ("Atan", torch.atan, {}), ("Asinh", torch.asinh, {}),
]:
    case(op, "tanh" if attributes.get("approximate") else "plain", function, [rand(3, 5, low=-4, high=4)], **attributes)
case("PRelu", "per channel", lambda x, s: F.prelu(x, s.reshape(-1)), [rand(2, 3, 4), rand(3, 1)])
case("Pow", "both", lambda x, p: x ** p, [rand(2, 3, low=0.3), rand(3)])
case("ReduceProd", "zeros", lambda x, _: torch.stack([row.prod() for row in x]).unsqueeze(1),
     [torch.tensor([[0.0, 2, 3], [0, 0, 1], [1, -2, 3]], dtype=torch.float64), ints(1)])

# Resampling
for form, x, size, mode, aligned, transformation in [
    ("linear", (1, 2, 3, 4), (5, 7), "bilinear", False, "pytorch_half_pixel"),
    ("linear, smaller", (1, 2, 7, 6), (4, 3), "bilinear", False, "pytorch_half_pixel"),
    ("linear, aligned corners", (1, 2, 3, 4), (6, 5), "bilinear", True, "align_corners"),
    ("cubic", (1, 2, 5, 6), (8, 9), "bicubic", False, "pytorch_half_pixel"),
    ("nearest", (1, 2, 3, 4), (6, 12), "nearest", None, "asymmetric"),
    ("nearest, odd sizes", (1, 2, 5, 4), (7, 6), "nearest", None, "asymmetric"),
]:
    named = {"bilinear": "linear", "bicubic": "cubic", "nearest": "nearest"}[mode]
    attributes = {"mode": named, "coordinate_transformation_mode": transformation}
    if mode == "bicubic":
        attributes["cubic_coeff_a"] = -0.75
    if mode == "nearest":
        attributes["nearest_mode"] = "floor"
    case("Resize", form, lambda a, *_: F.interpolate(a, size, mode=mode, align_corners=aligned),
         [rand(*x), None, None, ints(*x[:2], *size)], **attributes)
for padding in ("zeros", "border", "reflection"):
    for aligned in (False, True):
        case("GridSample", f"{padding}, {'aligned' if aligned else 'not aligned'}",
             lambda a, b: F.grid_sample(a, b, "bilinear", padding, aligned),
             [rand(2, 2, 4, 5), rand(2, 3, 2, 2, low=-1.3, high=1.3)],
             padding_mode=padding, align_corners=int(aligned))

# Moving, looking up, placing
case("Pad", "constant", lambda x, _: F.pad(x, (1, 2, 0, 1)), [rand(2, 3, 4), ints(0, 0, 1, 0, 1, 2)])
for mode, name in (("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")):
    case("Pad", name, lambda x, _: F.pad(x, (2, 3, 1, 2), mode), [rand(1, 2, 4, 5), ints(0, 0, 1, 2, 0, 0, 2, 3)], mode=name)
case("Gather", "a table", lambda x, i: F.embedding(i, x), [rand(5, 3), torch.tensor([[4, 0, 4], [1, 1, 2]])])
case("GatherElements", "axis 1", lambda x, i: x.gather(1, i), [rand(3, 4), torch.tensor([[0, 0], [3, 2], [1, 1]])], axis=1)
case("ScatterElements", "axis 0", lambda x, i, u: x.scatter(0, i, u),
     [rand(4, 3), torch.tensor([[0, 3, 1], [2, 0, 3]]), rand(2, 3)], axis=0)
case("ScatterElements", "add", lambda x, i, u: x.scatter_add(1, i, u),
     [rand(2, 4), torch.tensor([[0, 0, 3], [2, 2, 2]]), rand(2, 3)], axis=1, reduction="add")
case("ScatterND", "rows", lambda x, i, u: x.index_put((i[:, 0],), u), [rand(4, 3), torch.tensor([[2], [0]]), rand(2, 3)])
case("CumSum", "axis 1", lambda x, _: x.cumsum(1), [rand(2, 5), torch.tensor(1)])
case("Trilu", "lower", lambda x: x.tril(), [rand(2, 4, 3)], upper=0)
case("Slice", "steps", lambda x, *_: x[:, 1:7:2], [rand(2, 8), ints(1), ints(7), ints(1), ints(2)])
case("DepthToSpace", "columns first", lambda x: F.pixel_shuffle(x, 2), [rand(1, 8, 2, 3)], blocksize=2, mode="CRD")
case("Tile", "both axes", lambda x, _: x.repeat(2, 3), [rand(2, 3), ints(2, 3)])
for equation, shapes in [
    ("bij,bjk->bik", [(2, 3, 4), (2, 4, 2)]), ("bhqd,bhkd->bhqk", [(1, 2, 3, 4), (1, 2, 5, 4)]),
    ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 2)]), ("ij,ij->", [(3, 4), (3, 4)]), ("ii->i", [(4, 4)]),
]:
    case("Einsum", equation, lambda *xs: torch.einsum(equation, *xs), [rand(*shape) for shape in shapes], equation=equation)

path = Path(__file__).parent.parent / "fixtures" / "operator-gradients.json.gz"
text = "[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n"
path.write_bytes(gzip.compress(text.encode(), mtime=0))
print(f"{len(cases)} cases, {path.stat().st_size / 1024:.0f} KB")
