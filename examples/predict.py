"""What does a trained net say of your own pictures?

    python examples/train_cifar10.py                    trains and leaves runs/cifar10
    python examples/predict.py runs/cifar10 cat.jpg dog.png
    python examples/predict.py --help

Prints the classes with their probabilities, and draws the pictures at the size at which the net
sees them. Any size will do, and PNG, JPEG, BMP, GIF, TIFF or WebP. In a script of yours it is

    classifier = train.load_classifier("runs/cifar10")
    print(classifier("cat.jpg"))
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tinynet import train, viz

DRAWN = 100  # pictures at most, of one figure


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("model", type=Path, help="a folder of train_cifar10.py, or a file of train.save_model")
    add("pictures", type=Path, nargs="+", help="files, or folders of them")
    add("--out", type=Path, default=Path("predictions.png"),
        help="the picture that is drawn (default: predictions.png)")
    return parser.parse_args(argv)


def files(names: list[Path]) -> list[Path]:
    """The files; of a folder all in it that have the name of a picture."""
    endings = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
    found: list[Path] = []
    for name in names:
        if not name.is_dir():
            found.append(name)
            continue
        inside = sorted(file for file in name.iterdir() if file.suffix.lower() in endings)
        if not inside:
            raise FileNotFoundError(f"the folder {name} holds no pictures")
        found += inside
    return found


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    try:
        classifier = train.load_classifier(args.model)
        pictures = files(args.pictures)
        answers = classifier(pictures)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{classifier}\n")
    for answer in answers:
        print(answer)
    shown = pictures[:DRAWN]
    viz.plot_predictions(classifier.see(shown), classifier.probabilities(shown),
                         classifier.classes, args.out)
    print(f"\nthe pictures, as the net sees them, are in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
