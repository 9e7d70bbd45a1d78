"""A training loop of one's own that survives a kill: all it depends on is in one file.

    python examples/own_loop.py          kill it at any moment, and type the same line again

It goes on after the last file that it wrote and ends with the same weights, bit for bit, as if
nothing had happened. Nothing is pickled: the file is a tree of arrays, numbers and texts, and
loading it executes no code. `train.Checkpoints` does the same for `train.Trainer`.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any

import tinynet as tn
from tinynet import functional as F, nn, optim, train
from tinynet.data import (
    Compose,
    DataLoader,
    Normalize,
    RandomHorizontalFlip,
    channel_statistics,
    load_shapes,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/own_loop"),
                        help="folder of the file (runs/own_loop)")
    parser.add_argument("--epochs", type=int, default=4, help="passes over the pictures (4)")
    parser.add_argument("--every", type=int, default=20, help="steps between two files (20)")
    args = parser.parse_args()
    path = args.out / "state.safetensors"

    tn.manual_seed(0)
    pictures, test = load_shapes(train=3000, test=1000)
    prepare = Normalize(*channel_statistics(pictures.images))
    loader = DataLoader(pictures, batch_size=50, seed=1,
                        transform=Compose([RandomHorizontalFlip(), prepare]))
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Flatten(), nn.Dropout(0.2), nn.Linear(32 * 49, 10))
    schedule = optim.schedule.cosine(5e-3, T=args.epochs * len(loader))
    optimizer = optim.Adam(model.named_parameters(), lr=schedule)
    losses: list[float] = []  # of the steps that are done

    def save() -> None:
        train.save_checkpoint(path, {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),  # moments, and where its schedule stands
            "random": tn.get_state(),  # of the dropout masks
            "loader": loader.get_state(),  # the epoch and the batch in it
            "losses": losses,
        })

    if path.exists():
        state: dict[str, Any] = train.load_checkpoint(path)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        tn.set_state(state["random"])
        loader.set_state(state["loader"])
        losses = state["losses"]
        print(f"{path}: {len(losses)} steps are done", flush=True)

    for epoch in range(loader.epoch, args.epochs):
        for images, labels in loader:
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if len(losses) % args.every == 0:
                save()
        mean = sum(losses[-len(loader):]) / len(loader)
        print(f"epoch {epoch + 1}/{args.epochs}   loss {mean:.4f}", flush=True)
    save()

    model.eval()
    with tn.no_grad():
        scores = model(prepare(test.images, None))
    right = float((scores.argmax(axis=1).numpy() == test.labels).mean())
    weights = b"".join(tn.to_numpy(x).tobytes() for x in model.state_dict().values())
    print(f"test accuracy {right:.1%}, weights {hashlib.sha256(weights).hexdigest()[:16]}\n"
          f"to begin anew, remove {path}")


if __name__ == "__main__":
    main()
