"""Writes real architectures as weightless ONNX files with PyTorch's gradients of their parameters, for pack.mjs.

Usage: python3 gradients.py FOLDER [MODEL ...], then node pack.mjs FOLDER ../fixtures/gradients.br
Needs PyTorch, torchvision 0.14 and onnx (Debian: python3-torch python3-torchvision python3-onnx).

Every number of a model is made of its position by `numbers`, which the tests do alike. The loss is the outputs' weighted
sum. Of each parameter's gradient in float64 it keeps eight projections on seeded signs and the norm, and how far
PyTorch's own float32 gradient lies from it, relative to the norm. A model of `trained` is differentiated with norms
that use the statistics of the batch; then the running statistics after the step are kept in the same way.
"""

import copy
import io
import json
import math
import os
import sys

import numpy as np
import onnx
import torch
import torchvision.models as models
from extra import Bert, Llama, Recurrent
from onnx import TensorProto
from torch import nn

KEPT = 8
PROJECTIONS = 8
LOSS_SALT = 1 << 20
SIGN_SALT = 1 << 21


def mixed(count, salt):
    """32 well-mixed bits for each position: the last steps of MurmurHash3."""
    h = (np.arange(count, dtype=np.uint64) + np.uint64(salt * 0x9E3779B9)) & np.uint64(0xFFFFFFFF)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        h ^= h >> np.uint64(shift)
        h = (h * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
    return h.astype(np.uint32)


def numbers(shape, salt, offset, scale):
    """Uniform numbers in offset ± scale, exact in float32 after one rounding."""
    count = int(np.prod(shape, dtype=np.int64))
    unit = (mixed(count, salt) >> np.uint32(8)).astype(np.float64) / 2**23 - 1
    return torch.from_numpy((offset + scale * unit).astype(np.float32).reshape(shape))


def spread(name, value):
    """Offset and scale of the numbers of a parameter or buffer that keep activations in bounds."""
    if name.endswith("running_var"):
        return 1, 0.5
    if "layer_scale" in name:
        return 0.5, 0.3
    if "relative_position_bias" in name or name.endswith(("class_token", "words.weight", "embed.weight")):
        return 0, 0.5
    if "pos_embedding" in name or value.dim() < 2 and not name.endswith("weight"):
        return 0, 0.1
    if value.dim() < 2:
        return 1, 0.3
    return 0, 1.3 * math.sqrt(3 * value.shape[0] / value.numel())


def projections(tensor):
    flat = tensor.detach().reshape(-1).to(torch.float64)
    bits = mixed(flat.numel(), SIGN_SALT)
    return [float((flat * torch.from_numpy(1.0 - 2.0 * ((bits >> np.uint32(k)) & 1))).sum()) for k in range(PROJECTIONS)]


def short(x):
    return float(f"{x:.8g}")


def image(size=64):
    return [("input", (2, 3, size, size), None)]


def text(length, vocabulary):
    return [("ids", (2, length), vocabulary)]


def vision(name, **options):
    return lambda: models.get_model(name, weights=None, **options), image(), 17


catalogue = {
    "resnet18": (*vision("resnet18")[:2], 11),
    "mobilenet_v3_small": (*vision("mobilenet_v3_small")[:2], 13),
    "efficientnet_b0": vision("efficientnet_b0"),
    "densenet121": vision("densenet121"),
    "shufflenet_v2_x1_0": vision("shufflenet_v2_x1_0"),
    "regnet_y_400mf": vision("regnet_y_400mf"),
    "convnext_tiny": vision("convnext_tiny"),
    "vit_b_16": vision("vit_b_16", image_size=64),
    "swin_t": vision("swin_t"),
    "bert": (Bert, [*text(9, 100), ("mask", (2, 9), 1)], 17),
    "lstm": (lambda: Recurrent(nn.LSTM, True), [("input", (2, 9, 12), None)], 17),
    "llama": (Llama, text(9, 128), 17),
}

trained = ("resnet18", "mobilenet_v3_small", "shufflenet_v2_x1_0")


def made(inputs):
    """What is fed: integers below a bound (ones for 1), or numbers between −1 and 1."""
    fed = []
    for index, (_, shape, bound) in enumerate(inputs):
        salt = LOSS_SALT + 1 + index
        if bound is None:
            fed.append(numbers(shape, salt, 0, 1))
        else:
            count = math.prod(shape)
            values = np.ones(count) if bound == 1 else mixed(count, salt) % bound
            fed.append(torch.from_numpy(values.astype(np.int64).reshape(shape)))
    return fed


def differentiate(model, fed, dtype):
    """The gradient of each parameter, and the buffers after the step."""
    model = copy.deepcopy(model).to(dtype)
    outputs = model(*[x.to(dtype) if x.is_floating_point() else x for x in fed])
    weights = numbers(tuple(outputs.shape), LOSS_SALT, 0, 1).to(dtype)
    (outputs * weights).sum().backward()
    gradients = {name: value.grad for name, value in model.named_parameters()}
    return gradients, {name: value for name, value in model.named_buffers() if value.is_floating_point()}


def compared(exact, rough):
    norm = float(exact.norm())
    error = float((rough.double() - exact).norm()) / max(norm, 1e-300)
    return {"norm": short(norm), "error": float(f"{error:.2g}"), "projections": [short(x) for x in projections(exact)]}


def reference(model, fed, salts):
    exact, after = differentiate(model, fed, torch.float64)
    rough, after32 = differentiate(model, fed, torch.float32)
    kept = {name: compared(value, rough[name]) for name, value in exact.items() if value is not None}
    if not model.training:
        return {"parameters": kept}
    moved = [name for name in after if name in salts and not torch.equal(after[name], dict(model.named_buffers())[name].double())]
    return {"parameters": kept, "statistics": {name: compared(after[name], after32[name]) for name in moved}}


def export(model, fed, names, opset):
    file = io.BytesIO()
    torch.onnx.export(
        model, tuple(fed), file, opset_version=opset, input_names=names, output_names=["output"],
        training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False,
    )
    return onnx.load_from_string(file.getvalue())


def strip(proto, known):
    proto.graph.ClearField("value_info")
    for node in proto.graph.node:
        node.ClearField("doc_string")
    for tensor in proto.graph.initializer:
        if tensor.name not in known:
            continue
        size = math.prod(tensor.dims) * 4
        for field in ("raw_data", "float_data"):
            tensor.ClearField(field)
        for key, value in (("location", "weights"), ("offset", "0"), ("length", str(size))):
            tensor.external_data.add(key=key, value=value)
        tensor.data_location = TensorProto.EXTERNAL
    return proto


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    torch.set_num_threads(1)
    path = os.path.join(folder, "reference.json")
    written = json.load(open(path)) if os.path.exists(path) else {}
    for name in sys.argv[2:] or catalogue:
        build, inputs, opset = catalogue[name]
        model = build().eval()
        values = {key: value for key, value in model.state_dict().items() if value.is_floating_point()}
        spreads = {}
        with torch.no_grad():
            for salt, (key, value) in enumerate(values.items(), 1):
                offset, scale = spread(key, value)
                if key.endswith("frequency"):
                    continue
                value.copy_(numbers(tuple(value.shape), salt, offset, scale))
                spreads[key] = [salt, offset, scale]
        fed = made(inputs)
        entry = {"inputs": inputs, "numbers": spreads, "evaluating": reference(model, fed, spreads)}
        if name in trained:
            for module in model.modules():
                if isinstance(module, nn.Dropout):
                    module.p = 0.0
            entry["training"] = reference(model.train(), fed, spreads)
            model.eval()
        proto = strip(export(model, fed, [key for key, _, _ in inputs], opset), spreads)
        with open(os.path.join(folder, f"{name}.onnx"), "wb") as file:
            file.write(proto.SerializeToString())
        present = {tensor.name for tensor in proto.graph.initializer}
        lost = [key for key in entry["evaluating"]["parameters"] if key not in present]
        worst = max(kept["error"] for kept in entry["evaluating"]["parameters"].values())
        print(name, "opset", opset, len(spreads), "numbers, not in the file:", lost, "worst float32 error", worst, flush=True)
        written[name] = entry
        with open(path, "w") as file:
            json.dump(written, file, separators=(",", ":"))


if __name__ == "__main__":
    main()
