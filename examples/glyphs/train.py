"""Trains the example network and writes glyphs.onnx, calibration.npy and test.npz beside this file.

Needs PyTorch (1.13 or later), onnx and numpy. Ten minutes on two cores. Usage: python3 train.py [epochs]
"""

import pathlib
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from render import render

HERE = pathlib.Path(__file__).parent
TRAIN, TRAIN_SEED = 40_000, 1
CALIBRATION, CALIBRATION_SEED = 256, 2
TEST, TEST_SEED = 2_000, 3
WIDTHS = (16, 32, 48)
BLOCKS = 2


class Block(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = None
        if stride != 1 or inputs != width:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class GlyphNet(nn.Module):
    """A ResNet of three stages after a stem of stride 2: 14 x 14, 7 x 7 and 4 x 4 pixels."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, WIDTHS[0], 3, 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(WIDTHS[0])
        blocks, inputs = [], WIDTHS[0]
        for stage, width in enumerate(WIDTHS):
            for i in range(BLOCKS):
                blocks.append(Block(inputs, width, 2 if stage > 0 and i == 0 else 1))
                inputs = width
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(inputs, 10)

    def forward(self, image):
        x = F.relu(self.bn(self.conv(image)))
        return self.fc(self.blocks(x).mean((2, 3)))


def floats(images):
    return torch.from_numpy(images).float() / 255


def accuracy(net, images, labels):
    net.eval()
    with torch.no_grad():
        hits = sum((net(floats(images[i : i + 500])).argmax(1).numpy() == labels[i : i + 500]).sum() for i in range(0, len(labels), 500))
    return hits / len(labels)


def train(net, images, labels, test, epochs, batch=128):
    targets = torch.from_numpy(labels)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    steps = epochs * (len(images) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.15, total_steps=steps)
    for epoch in range(epochs):
        net.train()
        start, total = time.time(), 0.0
        order = torch.randperm(len(images))
        for i in range(0, len(images) - batch + 1, batch):
            pick = order[i : i + batch]
            loss = F.cross_entropy(net(floats(images[pick.numpy()])), targets[pick])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * batch
        print(f"epoch {epoch + 1}: loss {total / len(images):.4f}, test {accuracy(net, *test):.4f}, {time.time() - start:.0f} s", flush=True)


def export(net, path):
    net.eval()
    torch.onnx.export(
        net,
        torch.zeros(2, 1, 28, 28),
        path,
        opset_version=17,
        # Eval mode would fold every BatchNormalization into its convolution.
        training=torch.onnx.TrainingMode.PRESERVE,
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
    )


def main():
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    torch.manual_seed(0)
    torch.set_num_threads(2)
    calibration, _ = render(CALIBRATION, CALIBRATION_SEED)
    np.save(HERE / "calibration.npy", calibration)
    test = render(TEST, TEST_SEED)
    np.savez_compressed(HERE / "test.npz", images=test[0], labels=test[1].astype(np.uint8))
    net = GlyphNet()
    print(f"{sum(p.numel() for p in net.parameters())} parameters", flush=True)
    train(net, *render(TRAIN, TRAIN_SEED), test, epochs)
    export(net, HERE / "glyphs.onnx")


if __name__ == "__main__":
    main()
