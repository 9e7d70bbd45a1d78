"""Training spelled out: the loop that `tinynet.train.Trainer` wraps, for readers.

    python examples/plain_loop.py        about 10 s on 2 cores, ends near 85 %
"""

import tinynet as tn
from tinynet import functional as F
from tinynet import models, optim
from tinynet.data import DataLoader, Normalize, channel_statistics, load_shapes

tn.manual_seed(0)
train, test = load_shapes(train=4000, test=1000)
prepare = Normalize(*channel_statistics(train.images))
loader = DataLoader(train.images, train.labels, batch_size=64, transform=prepare)
model = models.small_conv_net(widths=(16, 32, 64))
optimizer = optim.Adam(model.named_parameters(), lr=optim.schedule.cosine(3e-3, 4 * len(loader)))

for epoch in range(4):
    model.train()
    for images, labels in loader:
        loss = F.cross_entropy(model(images), labels)  # forward: the graph is recorded
        optimizer.zero_grad()
        loss.backward()                                # backward: .grad of every parameter
        optimizer.step()                               # x <- x - lr * (something like .grad)
    model.eval()
    with tn.no_grad():
        answers = model(prepare(test.images)).argmax(axis=1)
    accuracy = float((answers == test.labels).data.mean())
    print(f"epoch {epoch + 1}   last loss {loss.item():.3f}   test accuracy {accuracy:.1%}")
