"""Writes convnet.npz: a small conv net trained for three steps by PyTorch, in float64.

    python -m tests.golden.make_convnet        (needs torch; the tests do not)

The net is ``tinynet.models.small_conv_net(widths=WIDTHS, image_size=SIZE)`` built of torch.nn
layers. Stored under these prefixes, then the names of PyTorch's state_dict:

    start/    weights and buffers at the beginning           grad/   gradients of the first step
    end/      weights and buffers after three steps          x, y    the batch
    logits, loss of the first step; losses of the three steps; eval: logits afterwards, in eval mode
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).with_name("convnet.npz")
WIDTHS, SIZE, BATCH, STEPS = (6, 8), 12, 5, 3
LR, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 5e-4


def main() -> None:
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.manual_seed(8)
    layers: list[nn.Module] = []
    for before, width in zip((3, *WIDTHS), WIDTHS, strict=False):
        layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width),
                   nn.ReLU(), nn.MaxPool2d(2)]
    side = SIZE >> len(WIDTHS)
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(WIDTHS[-1] * side * side, 10)).double()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):  # not the trivial 1 and 0
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 1.5)
    x = torch.randn(BATCH, 3, SIZE, SIZE, dtype=torch.float64)
    y = torch.randint(0, 10, (BATCH,))

    stored = {f"start/{name}": value.numpy().copy() for name, value in net.state_dict().items()}
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=MOMENTUM,
                                weight_decay=WEIGHT_DECAY)
    losses = []
    for step in range(STEPS):
        logits = net(x)
        loss = F.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            stored |= {"logits": logits.detach().numpy(), "loss": loss.detach().numpy()}
            stored |= {f"grad/{name}": p.grad.numpy().copy() for name, p in net.named_parameters()}
        optimizer.step()
        losses.append(loss.item())
    stored |= {f"end/{name}": value.numpy() for name, value in net.state_dict().items()}
    with torch.no_grad():
        stored["eval"] = net.eval()(x).numpy()
    np.savez_compressed(GOLDEN, x=x.numpy(), y=y.numpy(), losses=losses, **stored)
    print(f"{GOLDEN.name}: losses {losses}, {GOLDEN.stat().st_size} bytes")


if __name__ == "__main__":
    main()
