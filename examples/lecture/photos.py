"""Figures 21 to 23, 25, 27 and 28: what is done to pictures before a net sees them.

Photographs are CIFAR-10's, where that is present; else `shapes`, drawn large.
"""

from __future__ import annotations

import functools
import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

import tinynet as tn
from tinynet import data, functional as F
from tinynet.data.mix import Plan
from tinynet.functional.fractional import fractional_regions

from . import style
from .style import BLACK, BLUE, GREEN, ORANGE, RED, Picture

# Pictures of CIFAR-10's test set, by the checksum of their bytes, whatever their order.
KITTEN, PROFILE, DOG = 564050751, 2545716024, 625246138


class Photo(NamedTuple):
    """A picture (3, H, W) of bytes, what is on it, and where it comes from."""

    pixels: np.ndarray
    name: str
    source: str


@functools.cache
def cifar() -> dict[int, np.ndarray]:
    """Pictures of CIFAR-10's test set by their checksums; empty where it is not present."""
    if not os.environ.get("TINYNET_DATA"):
        return {}
    try:
        _, test = data.load_cifar10(Path(os.environ["TINYNET_DATA"]))
    except (data.DownloadError, OSError, ValueError):
        return {}
    return {zlib.crc32(picture.tobytes()): picture for picture in test.images}


def photo(checksum: int, name: str, instead: str) -> Photo:
    """The picture of CIFAR-10 with this checksum, or `instead` of the built-in set."""
    found = cifar().get(checksum)
    if found is not None:
        return Photo(found, name, "CIFAR-10")
    large, _ = data.load_shapes(train=10, test=0, size=224)
    return Photo(large.images[large.classes.index(instead)], instead, "shapes, drawn at 224")


def large_photo() -> Photo:
    """A picture of the size that ResNet's crops are made for: matplotlib's sample portrait."""
    from matplotlib import cbook

    try:
        with cbook.get_sample_data("grace_hopper.jpg") as file:
            pixels = np.asarray(Image.open(file).convert("RGB"))
    except OSError:  # some distributions leave the samples out
        drawn, _ = data.load_shapes(train=10, test=0, size=512)
        return Photo(drawn.images[4], "heart", "shapes, drawn at 512")
    return Photo(pixels.transpose(2, 0, 1), "Grace Hopper", "Grace Hopper, 1984 (US Navy)")


def show(panel: Any, pixels: np.ndarray, text: str = "") -> None:
    """A picture as it is; small ones smoothed, as a browser would."""
    panel.imshow(np.asarray(pixels).transpose(1, 2, 0),
                 interpolation="bicubic" if pixels.shape[-1] < 100 else "antialiased")
    style.bare(panel)
    if text:
        style.title(panel, text)


def keys(n: int, what: str) -> Any:
    return tn.random.key(style.SEED, what, np.arange(n))


def flip(quick: bool) -> Picture:
    """21: the mirror image is another example of the same class."""
    picture = photo(PROFILE, "cat", "arrow")
    batch = np.repeat(picture.pixels[None], 64, axis=0)
    out = tn.to_numpy(data.RandomHorizontalFlip()(tn.xp.asarray(batch), keys(64, "flip")))
    mirrored = picture.pixels[:, :, ::-1]
    flipped = [np.array_equal(one, mirrored) for one in out]
    same = [np.array_equal(one, picture.pixels) for one in out]
    figure, (left, right) = style.sheet(1, 2, (6.0, 3.6))
    show(left, out[same.index(True)], picture.name)
    show(right, out[flipped.index(True)], f"flipped: still “{picture.name}”")
    return Picture(figure, f"data.RandomHorizontalFlip(p=0.5); picture: {picture.source}", {
        "share": float(np.mean(flipped)), "flipped or same": int(np.sum(flipped) + np.sum(same)),
        "of": 64}, photo=True)


def crops(quick: bool) -> Picture:
    """22: patches at random places and scales; at test ten fixed ones of each size."""
    from matplotlib.patches import Rectangle

    picture = large_photo()
    one = tn.xp.asarray(picture.pixels[None])
    crop = data.ResNetCrop(224, (256, 480))
    n = 4
    several = tn.xp.repeat(one, n, axis=0)
    chosen = keys(n, "crop")
    patches = tn.to_numpy(crop(several, chosen))
    boxes = [tn.to_numpy(side) for side in crop.windows(several, chosen)]
    figure, axes = style.sheet(1, 2, (8.6, 4.4))
    left, right = axes
    show(left, picture.pixels, "Random crops and scales")
    colors = (RED, BLUE, GREEN, ORANGE)
    for i, color in enumerate(colors):
        top, start, height, width = (float(side[i]) for side in boxes)
        left.add_patch(Rectangle((start, top), width, height, fill=False, edgecolor=color,
                                 linewidth=2.6))
    style.bare(right)
    style.title(right, "What the net sees: each 224 x 224")
    for i, (patch, color) in enumerate(zip(patches, colors, strict=True)):
        inset = right.inset_axes((0.51 * (i % 2), 0.51 * (1 - i // 2), 0.48, 0.48))
        show(inset, patch)
        inset.spines[:].set(visible=True, color=color, linewidth=2.6)
    views = sum(1 for _ in data.resnet_crops(one))
    return Picture(figure, f"data.ResNetCrop(224, (256, 480)): short side to a random L, then a "
                   f"random patch; at test data.resnet_crops: 5 sizes x 10 crops; {picture.source}",
                   {"shapes": [list(patch.shape) for patch in patches],
                    "short sides": [224 / float(boxes[2][i]) * picture.pixels.shape[1]
                                    for i in range(n)],
                    "picture": list(picture.pixels.shape[1:]), "views": views}, photo=True)


def jitter(quick: bool) -> Picture:
    """23: other light: contrast and brightness at random."""
    picture = photo(KITTEN, "cat", "heart")
    n = 8
    batch = tn.xp.asarray(np.repeat(picture.pixels[None], n, axis=0))
    change = data.ColorJitter(brightness=0.5, contrast=0.6)
    out = tn.to_numpy(change(batch, keys(n, "jitter")))
    same = tn.to_numpy(data.ColorJitter(brightness=0.0, contrast=0.0)(batch, keys(n, "jitter")))
    figure, axes = style.sheet(2, 4, (7.6, 4.4))
    show(axes[0], picture.pixels, "as it is")
    for i, panel in enumerate(axes[1:]):
        show(panel, out[i], "" if i else "other contrast and brightness")
    return Picture(figure, f"data.ColorJitter(brightness=0.5, contrast=0.6); {picture.source}", {
        "means": out[:7].mean(axis=(1, 2, 3)).tolist(), "own mean": float(picture.pixels.mean()),
        "spreads": out[:7].std(axis=(1, 2, 3)).tolist(),
        "zero changes nothing": bool(np.array_equal(same, tn.to_numpy(batch)))}, photo=True)


def fractional(quick: bool) -> Picture:
    """25: pooling regions of 1 or 2 pixels a side, drawn anew each time; at test their mean."""
    picture = photo(KITTEN, "cat", "heart")
    whole = tn.xp.asarray(picture.pixels[None].astype(np.float32) / 255)
    n, parts = 32, 22
    small = whole if whole.shape[-1] == n else data.resize(whole, n)
    figure, axes = style.sheet(2, 3, (8.2, 5.6))
    steps, pooled = [], []
    for number, panel in enumerate(axes[:3]):
        key = tn.random.key(style.SEED, "pool", number)
        rows, columns = (tn.to_numpy(fractional_regions(
            n, parts, pseudo=False, overlapping=False, key=tn.random.key(key, axis)))[0]
            for axis in ("rows", "columns"))
        out = F.fractional_max_pool2d(small, parts, pseudo=False, overlapping=False, key=key)
        pooled.append(tn.to_numpy(out.data)[0])
        steps += [np.diff(rows).tolist(), np.diff(columns).tolist()]
        panel.imshow(tn.to_numpy(small)[0].transpose(1, 2, 0), extent=(0, n, n, 0),
                     interpolation="nearest")
        style.bare(panel)
        for cut in rows:
            panel.axhline(cut, color=BLACK, linewidth=0.8)
        for cut in columns:
            panel.axvline(cut, color=BLACK, linewidth=0.8)
        style.title(panel, f"random regions {number + 1}")
    many = [tn.to_numpy(F.fractional_max_pool2d(
        small, parts, pseudo=False, overlapping=False, key=tn.random.key("test", i)).data)[0]
        for i in range(16)]
    for number, panel in enumerate(axes[3:5]):
        show_blocks(panel, pooled[number], f"the largest of each: {parts} x {parts}")
    show_blocks(axes[5], np.mean(many, axis=0), "at test: mean of 16")
    return Picture(figure, f"F.fractional_max_pool2d, {n} -> {parts} pixels, ratio "
                   f"{n / parts:.2f}, disjoint random regions of 1 or 2 pixels; {picture.source}", {
        "sides": sorted({step for each in steps for step in each}),
        "twos": [each.count(2) for each in steps], "regions": [len(each) for each in steps],
        "top left": [float(one[0, 0, 0]) for one in pooled],
        "by hand": float(tn.to_numpy(small)[0, 0, : steps[0][0], : steps[1][0]].max())},
        photo=True)


def show_blocks(panel: Any, pixels: np.ndarray, text: str) -> None:
    """A small picture with its pixels as squares."""
    panel.imshow(pixels.transpose(1, 2, 0), interpolation="nearest", vmin=0, vmax=1)
    style.bare(panel)
    style.title(panel, text)


def cutout(quick: bool) -> Picture:
    """27: a square of the picture is covered; at test it is whole."""
    picture = photo(KITTEN, "cat", "heart")
    side = picture.pixels.shape[-1] // 2
    n = 400 if quick else 2000
    grey = np.array([125, 123, 114])  # the mean of CIFAR-10's training pictures
    small = tn.xp.zeros((n, 1, 32, 32), np.uint8)
    covered = float(tn.to_numpy(data.Cutout(16, fill=1)(small, keys(n, "hole"))).mean())
    batch = tn.xp.asarray(np.repeat(picture.pixels[None], 3, axis=0))
    out = tn.to_numpy(data.Cutout(side, fill=tuple(grey.tolist()))(batch, keys(3, "cutout")))
    figure, axes = style.sheet(1, 4, (9.2, 2.9))
    for panel, pixels, text in zip(axes, (*out, picture.pixels),
                                   ("training", "", "", "test: the whole picture"), strict=True):
        show(panel, pixels, text)
    return Picture(figure, f"data.Cutout({side}) filled with the training mean; {picture.source}; "
                   f"16 of 32 pixels cover {covered:.1%} on average", {"covered": covered,
                   "holes": [float((one == grey[:, None, None]).all(axis=0).mean())
                             for one in out]}, photo=True)


def mixup(quick: bool) -> Picture:
    """28: two pictures in one, and the label in the same proportion."""
    pair = [photo(KITTEN, "cat", "heart"), photo(DOG, "dog", "star")]
    names = [one.name for one in pair]
    share = 0.4
    images = tn.xp.asarray(np.stack([one.pixels for one in pair]))
    mix = data.Mixup(2)
    mixed, targets = mix.of_share(images, tn.xp.array([0, 1]), Plan(share, 1, 0))
    blend, target = tn.to_numpy(mixed)[0], tn.to_numpy(targets)[0]
    figure, axes = style.sheet(1, 3, (8.4, 3.5))
    show(axes[0], pair[0].pixels, f"{names[0]}: 1.0")
    show(axes[1], pair[1].pixels, f"{names[1]}: 1.0")
    show(axes[2], blend, "mixed: " + ", ".join(
        f"{name} {part:.1f}" for name, part in zip(names, target, strict=True)))
    scores = tn.tensor(np.array([[0.3, -1.2]]))
    both = [F.cross_entropy(scores, np.array([label])).item() for label in (0, 1)]
    loss = F.cross_entropy(scores, tn.xp.asarray(target[None].astype(np.float64))).item()
    exact = share * pair[0].pixels + (1 - share) * pair[1].pixels.astype(float)
    return Picture(figure, f"data.Mixup with lam = {share}; training draws lam from "
                   f"Beta(alpha, alpha); test pictures stay whole; {pair[0].source}", {
        "target": target.tolist(), "away from the blend": float(np.abs(blend - exact).max()),
        "loss": loss, "mean of losses": share * both[0] + (1 - share) * both[1]}, photo=True)
