"""Training spelled out: the loop that `tinynet.train.Trainer` wraps, for readers.

    python examples/plain_loop.py          10 to 30 s on 2 cores, ends near 87 %
"""

import argparse

import tinynet as tn
from tinynet import functional as F, models, optim
from tinynet.data import DataLoader, Normalize, channel_statistics, load_shapes

argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0]).parse_args()  # no options
tn.manual_seed(0)
train, test = load_shapes(train=6000, test=1000)
prepare = Normalize(*channel_statistics(train.images))
train_loader = DataLoader(train.images, train.labels, batch_size=64, transform=prepare)
test_loader = DataLoader(test.images, test.labels, batch_size=250, transform=prepare, shuffle=False)

model = models.small_conv_net(widths=(16, 32, 64))
schedule = optim.schedule.cosine(3e-3, T=4 * len(train_loader))
optimizer = optim.Adam(model.named_parameters(), lr=schedule)

for epoch in range(4):
    for images, labels in train_loader:
        loss = F.cross_entropy(model(images), labels)  # forward: every operation is recorded
        optimizer.zero_grad()
        loss.backward()                                # backward: .grad of every parameter
        optimizer.step()                               # x <- x - lr * (Adam's idea of .grad)

    model.eval()                                       # batch norm: the running statistics
    with tn.no_grad():                                 # no recording: nothing to differentiate
        right = sum(int((model(images).argmax(axis=1) == labels).sum())
                    for images, labels in test_loader)
    model.train()
    print(f"epoch {epoch + 1}   loss {loss.item():.3f}   test accuracy {right / len(test):.1%}")
