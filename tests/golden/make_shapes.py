"""Write shapes.npz: pictures of the synthetic set, for tests/data/test_shapes.py.

    python -m tests.golden.make_shapes

One picture of each class from both splits, and five of a second seed. Run it only after a
deliberate change of how they are drawn: everybody's pictures change with it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinynet.data import load_shapes

GOLDEN = Path(__file__).with_name("shapes.npz")


def main() -> None:
    train, test = load_shapes(train=10, test=10)
    other, _ = load_shapes(train=5, test=0, seed=1)
    np.savez_compressed(GOLDEN, train=train.images, test=test.images, other=other.images)
    print(f"{GOLDEN}: {GOLDEN.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
