"""Draws the glyphs: grey images of 28 x 28 pixels in ten classes, from a seed.

A glyph is a set of line segments in the square [-1, 1]². Each image bends it by a random affine map, draws it with a
soft pen among clutter of random strokes, and adds a sloped background and noise. The same seed gives the same bytes.
"""

import numpy as np

SIZE = 28
CLASSES = ["ring", "cross", "triangle", "square", "arrow", "zigzag", "tee", "spiral", "asterisk", "arc"]
CLUTTER = 3
_BLOCK = 500


def _polyline(points, closed=False):
    points = np.asarray(points, dtype=np.float64)
    ends = np.roll(points, -1, axis=0) if closed else points[1:]
    return np.stack([points if closed else points[:-1], ends], axis=1)


def _curve(angles, radii):
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _glyphs():
    ring = _polyline(_curve(np.linspace(0, 2 * np.pi, 12, endpoint=False), np.full(12, 0.85)), closed=True)
    cross = np.concatenate([_polyline([(-0.9, 0), (0.9, 0)]), _polyline([(0, -0.9), (0, 0.9)])])
    triangle = _polyline([(-0.85, 0.7), (0.85, 0.7), (0, -0.85)], closed=True)
    square = _polyline([(-0.75, -0.75), (0.75, -0.75), (0.75, 0.75), (-0.75, 0.75)], closed=True)
    arrow = np.concatenate([_polyline([(0, 0.9), (0, -0.9)]), _polyline([(-0.6, -0.3), (0, -0.9), (0.6, -0.3)])])
    zigzag = _polyline([(-0.9, -0.5), (-0.4, 0.5), (0.05, -0.5), (0.5, 0.5), (0.9, -0.5)])
    tee = np.concatenate([_polyline([(0, 0.9), (0, -0.8)]), _polyline([(-0.8, -0.8), (0.8, -0.8)])])
    spiral = _polyline(_curve(np.linspace(0, 3.6 * np.pi, 18), np.linspace(0.1, 0.9, 18)))
    asterisk = np.concatenate(
        [_polyline([(-0.9 * np.cos(a), -0.9 * np.sin(a)), (0.9 * np.cos(a), 0.9 * np.sin(a))]) for a in (0.5236, 1.5708, 2.618)]
    )
    arc = _polyline(_curve(np.linspace(0.25 * np.pi, 1.75 * np.pi, 10), np.full(10, 0.85)))
    return [ring, cross, triangle, square, arrow, zigzag, tee, spiral, asterisk, arc]


def _stack(glyphs):
    """All glyphs with the same number of segments [class, segment, end, xy]; short ones repeat their first segment."""
    most = max(len(g) for g in glyphs)
    return np.stack([np.concatenate([g, np.repeat(g[:1], most - len(g), axis=0)]) for g in glyphs])


_SEGMENTS = _stack(_glyphs())


def _distance(segments):
    """Distance of every pixel centre to the nearest segment [image, pixel]; segments [image, segment, end, xy] in pixels."""
    axis = np.arange(SIZE) + 0.5
    pixels = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(1, 1, -1, 2)
    start = segments[:, :, None, 0]
    along = segments[:, :, None, 1] - start
    length2 = np.maximum((along**2).sum(-1), 1e-9)
    share = np.clip(((pixels - start) * along).sum(-1) / length2, 0, 1)
    gap = pixels - start - share[..., None] * along
    return np.sqrt((gap**2).sum(-1)).min(axis=1)


def _ink(distance, width):
    return np.clip(width - distance + 0.5, 0, 1)


def _render_block(rng, labels):
    n = len(labels)
    angle = rng.uniform(-0.6, 0.6, n)
    scale = rng.uniform(5.5, 10.5, n)
    stretch = rng.uniform(0.7, 1.3, n)
    shear = rng.uniform(-0.35, 0.35, n)
    cos, sin = np.cos(angle), np.sin(angle)
    # Rotation after shear after an uneven stretch.
    affine = np.empty((n, 2, 2))
    affine[:, 0, 0] = scale * stretch * cos
    affine[:, 0, 1] = scale * (shear * cos - sin / stretch)
    affine[:, 1, 0] = scale * stretch * sin
    affine[:, 1, 1] = scale * (shear * sin + cos / stretch)
    centre = SIZE / 2 + rng.uniform(-3.5, 3.5, (n, 2))
    wobble = rng.normal(0, 0.05, (n, *_SEGMENTS.shape[1:]))
    shape = np.einsum("nij,nsej->nsei", affine, _SEGMENTS[labels] + wobble) + centre[:, None, None]
    glyph = _ink(_distance(shape), rng.uniform(0.5, 1.3, (n, 1)))

    first = rng.uniform(0, SIZE, (n, CLUTTER, 1, 2))
    step = rng.uniform(-9, 9, (n, CLUTTER, 1, 2))
    clutter = _ink(_distance(np.concatenate([first, first + step], axis=2)), rng.uniform(0.4, 1.0, (n, 1)))

    slope = np.linspace(-0.5, 0.5, SIZE)
    ramp = rng.uniform(-0.3, 0.3, (n, 1, 1)) * slope[:, None] + rng.uniform(-0.3, 0.3, (n, 1, 1)) * slope
    ink = rng.uniform(0.3, 0.7, (n, 1))
    image = 0.15 + ramp.reshape(n, -1) * 0.5 + np.maximum(glyph * ink, clutter * ink * rng.uniform(0.6, 1.1, (n, 1)))
    image += rng.normal(0, 1, image.shape) * rng.uniform(0.04, 0.16, (n, 1))
    # 32 grey levels keep the files small.
    return (np.clip(np.rint(image * 31), 0, 31) * 8).astype(np.uint8).reshape(n, 1, SIZE, SIZE)


def render(count, seed):
    """`count` images [count, 1, 28, 28] of uint8 and their classes [count] of int64, about as many of each class."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % len(CLASSES))
    blocks = [_render_block(rng, labels[i : i + _BLOCK]) for i in range(0, count, _BLOCK)]
    return np.concatenate(blocks), labels.astype(np.int64)
