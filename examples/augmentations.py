"""A contact sheet of every transform: what the net sees of one picture, epoch after epoch.

    python examples/augmentations.py                 CIFAR-10 if it is here, else shapes
    python examples/augmentations.py --data shapes
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from tinynet import data, viz

COLUMNS = 10


def load(name: str) -> data.Dataset:
    if name != "shapes":
        try:
            return data.load_cifar10()[0]
        except data.DownloadError as error:
            print(f"CIFAR-10 is not here and cannot be downloaded: {error}\nUsing `shapes`.")
    return data.load_shapes(train=1000, test=10)[0]


def transforms(train: data.Dataset) -> dict[str, data.Transform]:
    """Each alone, some stronger than one would train with, so that one sees what they do."""
    mean, _ = data.channel_statistics(train.images)
    return {
        "horizontal flip": data.RandomHorizontalFlip(),
        "crop, padding 4": data.RandomCrop(32, padding=4),
        "crop, mirrored border": data.RandomCrop(32, padding=8, mode="reflect"),
        "ResNet crop": data.ResNetCrop(32, (36, 68)),  # 256 .. 480 for 224, in proportion
        "Inception crop": data.RandomResizedCrop(32),
        "brightness": data.ColorJitter(brightness=0.6),
        "contrast": data.ColorJitter(contrast=0.8),
        "light, by levels": data.LightJitter(brightness=80.0, contrast=0.5),
        "saturation": data.ColorJitter(saturation=1.0),
        "PCA lighting": data.PCALighting.fit(train.images, sigma=0.6),
        "translation": data.RandomAffine(translate=0.25, fill=mean),
        "rotation": data.RandomAffine(degrees=30, fill=mean),
        "stretching": data.RandomAffine(stretch=0.6, fill=mean),
        "shearing": data.RandomAffine(shear=30, fill=mean),
        "all four": data.RandomAffine(15, 0.1, 0.2, 0.2, 15, fill=mean),
        "lens distortion": data.LensDistortion((-0.3, 0.6), fill=mean),
        "cutout 16": data.Cutout(16, fill=mean),
        "random erasing": data.RandomErasing(fill="random"),
        "upside down, 1 in 2": data.RandomApply(data.RandomAffine(degrees=(180, 180)), p=0.5),
        "the usual for CIFAR": data.Compose([data.RandomHorizontalFlip(), data.RandomCrop(32, 4),
                                             data.Cutout(8, fill=mean)]),
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", choices=["auto", "shapes"], default="auto")
    parser.add_argument("--out", type=Path, default=Path("runs"),
                        help="folder for augmentations.png, or a file's name (default: runs)")
    parser.add_argument("--picture", type=int, default=10, help="its number (default: 10)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    train = load(args.data)
    if not 0 <= args.picture <= len(train) - COLUMNS:
        parser.error(f"--picture must be 0 .. {len(train) - COLUMNS}")
    one = np.repeat(train.images[args.picture : args.picture + 1], COLUMNS, axis=0)
    several = train.take(slice(args.picture, args.picture + COLUMNS))
    rows = {"as it is": one[:1]}
    for name, transform in transforms(train).items():
        loader = data.DataLoader(one, np.zeros(COLUMNS, int), COLUMNS, seed=args.seed,
                                 transform=transform)
        rows[name] = next(iter(loader))[0]
    rows["ten crops of the test"] = np.concatenate([*data.ten_crops(one[:1], 24)])
    rows["several pictures"] = several.images
    for name, mix in (("mixup", data.Mixup(10, alpha=1.0)), ("CutMix", data.CutMix(10))):
        loader = data.DataLoader(several.images, several.labels, COLUMNS, shuffle=False,
                                 seed=args.seed, batch_transform=mix)
        rows[name] = next(iter(loader))[0]
    out = args.out if args.out.suffix else args.out / "augmentations.png"
    viz.contact_sheet(rows, out, f"Every transform on a picture of {train.name}")
    print(f"{len(rows)} rows are in {out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
