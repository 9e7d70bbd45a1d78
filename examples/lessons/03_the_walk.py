# %% [markdown]
# # 3. The walk
#
# In lesson 1 every way from the end to a number was walked on its own. `y = y + y`, forty times
# in a row, has 2⁴⁰ ways. But all the ways through one number share the rest of their road: wait
# at each number until *all* that comes from above has arrived, and go on once.

# %%
import time

from drawing import draw

# %% [markdown]
# A node is made after its parts: the *newest first* is an order that passes nothing on too early.

# %%
class Node:
    """What a number is made of, (part, slope) each, and when: `number` counts all nodes."""

    made = 0

    def __init__(self, *parts):
        self.parts = parts
        self.number = Node.made
        Node.made += 1


def newest_first(end):
    """All nodes that `end` is made of, and itself, each once, the newest first."""
    found = {end}
    open_ends = [end]
    while open_ends:  # a list, not recursion: chains may be longer than Python's stack is deep
        node = open_ends.pop()
        ...  # put the parts that are not found yet into both
    return ...

# %% [markdown]
# Gradients live in a dictionary of the walk, not on the nodes: two walks cannot disturb each other.

# %%
def walk(end):
    """The slope of `end` in every node, as a dictionary."""
    gradients = {end: 1.0}
    for node in newest_first(end):
        for part, slope in node.parts:
            gradients[part] = ...
    return gradients

# %% [markdown]
# In the library this is `tinynet/graph.py:newest_first` and `tinynet/tensor.py:_walk`.

# %%
def doubled(times):
    node = Node()
    for _ in range(times):
        node = Node((node, 1.0), (node, 1.0))
    return node


def milliseconds(end):
    began = time.perf_counter()
    walk(end)
    return 1000 * (time.perf_counter() - began)


def picture(figure):
    lengths = [100, 200, 400, 800]
    axes = figure.subplots()
    axes.plot(lengths, [milliseconds(doubled(n)) for n in lengths], "o-")
    axes.set(xlabel="y = y + y, so many times", ylabel="milliseconds for the walk", ylim=(0, None))


if __name__ == "__main__":
    draw("03_the_walk", picture)
