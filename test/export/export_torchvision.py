"""Exports every classification model of torchvision as a weightless ONNX file.

Needs PyTorch, torchvision 0.14 and onnx (Debian: python3-torch python3-torchvision python3-onnx). Weights, norm scales,
biases and statistics are random, so that the exporter shares none; float tensors of more than 8 elements are then
replaced by a reference to a file that does not exist. Usage: python3 export_torchvision.py FOLDER [MODEL ...],
then node pack.mjs FOLDER ../fixtures/torchvision.br
"""

import inspect
import os
import sys
import tempfile

import onnx
import torch
import torchvision.models as models
from onnx import TensorProto
from torchvision.models import swin_transformer

KEPT_ELEMENTS = 8


def allow_swin_v2():
    """Swin v2 zeroes the bias of its keys in place, which no operator set expresses; concatenating zeros is the same."""
    source = inspect.getsource(swin_transformer.shifted_window_attention)
    before = "qkv_bias[length : 2 * length].zero_()"
    after = "qkv_bias = torch.cat((qkv_bias[:length], torch.zeros_like(qkv_bias[:length]), qkv_bias[2 * length :]))"
    if before not in source:
        raise RuntimeError("this torchvision has another Swin v2 than 0.14")
    exec(source.replace(before, after), vars(swin_transformer))


def randomise(model):
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if not value.is_floating_point():
                continue
            scale = value.dim() == 1 and name.endswith("weight")
            if name.endswith("running_var") or scale or "layer_scale" in name:
                value.uniform_(0.5, 1.5)
            else:
                value.uniform_(-0.1, 0.1)


def build(name):
    options = {}
    if name in ("googlenet", "inception_v3"):
        options = {"init_weights": False, "aux_logits": False}
    if name.startswith("vit"):
        options = {"image_size": 224}
    return models.get_model(name, weights=None, **options).eval()


def export(model, size):
    """The proto of the highest operator set that works, without reading weights that were stored beside it."""
    for opset in (17, 16, 13):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.onnx")
            try:
                torch.onnx.export(
                    model,
                    torch.randn(2, 3, size, size),
                    path,
                    opset_version=opset,
                    input_names=["input"],
                    output_names=["output"],
                    dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
                    training=torch.onnx.TrainingMode.PRESERVE,
                    do_constant_folding=True,
                )
            except Exception as error:
                print(f"  opset {opset}: {type(error).__name__} {str(error)[:120]}", flush=True)
                continue
            return opset, onnx.load(path, load_external_data=False)
    return None, None


def strip(proto):
    proto.graph.ClearField("value_info")
    for node in proto.graph.node:
        node.ClearField("doc_string")
    offset = 0
    for tensor in proto.graph.initializer:
        count = 1
        for n in tensor.dims:
            count *= n
        if tensor.data_type != TensorProto.FLOAT or count <= KEPT_ELEMENTS:
            continue
        for field in ("raw_data", "float_data", "external_data"):
            tensor.ClearField(field)
        for key, value in (("location", "weights"), ("offset", str(offset)), ("length", str(count * 4))):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
        tensor.data_location = TensorProto.EXTERNAL
        offset += count * 4
    return proto


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    torch.set_num_threads(1)
    allow_swin_v2()
    names = sys.argv[2:] or sorted(models.list_models(module=models))
    for name in names:
        path = os.path.join(folder, f"{name}.onnx")
        if os.path.exists(path):
            continue
        model = build(name)
        randomise(model)
        opset, proto = export(model, 299 if name == "inception_v3" else 224)
        if proto is None:
            print(name, "cannot be exported", flush=True)
            continue
        with open(path, "wb") as file:
            file.write(strip(proto).SerializeToString())
        print(name, "opset", opset, flush=True)


if __name__ == "__main__":
    main()
