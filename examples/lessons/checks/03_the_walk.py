"""Graphs with many ways: each node is met once, after all that was made of it."""

from __future__ import annotations

from typing import Any

from grading import Answer, close, demand


def diamond(Node: Any) -> tuple[Any, Any, Any]:
    """x, a = 2x, y = a + 3x + 5a: the way through `a` is longer than the one beside it."""
    x = Node()
    a = Node((x, 2.0))
    b = Node((a, 5.0), (x, 3.0))
    return x, a, Node((a, 1.0), (b, 1.0))


def check_newest_first(answer: Answer) -> None:
    x, _, end = diamond(answer.Node)
    answer.Node((x, 1.0))  # made of x, but the end does not know it
    order = answer.newest_first(end)
    demand(order is not None, "newest_first returns nothing", "Its last line returns a list.")
    numbers = [node.number for node in order]
    base = x.number
    demand(len(set(numbers)) == len(numbers), f"a node comes twice: {numbers}",
           "Look whether a part is in `found` before you add it.")
    demand(len(numbers) == 4, f"{len(numbers)} nodes were found, not 4",
           "Go on to the parts of parts: what you find has to be opened as well.")
    demand(numbers != sorted(numbers), f"the order of the numbers is {numbers}",
           "That is the oldest first: reverse=True.")
    close("the order, by the nodes' numbers,", numbers, [base + 3, base + 2, base + 1, base],
          "Sort them by `number`, the newest first.")


def check_walk(answer: Answer) -> None:
    x, a, end = diamond(answer.Node)
    found = answer.walk(end)
    close("the slope of the end in `a`, of a diamond,", found.get(a), 6.0, "Two ways: 1 and 5.",
          {"The last way overwrites the first: add to what is there.": 5.0})
    close("the slope of the end in x, of a diamond,", found.get(x), 15.0,
          "Three ways: 1*2, 5*2 and 3.",
          {"The last way overwrites the others: add to what is there.": 12.0})
    close("the slope in a node by which it does not grow", found.get(end), 1.0, "It is 1.")


def check_many_ways(answer: Answer) -> None:
    first = node = answer.Node()
    for _ in range(40):
        node = answer.Node((node, 1.0), (node, 1.0))
    close("the slope after 40 doublings", answer.walk(node)[first], 2.0**40, "2^40")


def check_long_chain(answer: Answer) -> None:
    first = node = answer.Node()
    for _ in range(20_000):
        node = answer.Node((node, 1.0))
    close("the slope down a chain of 20,000", answer.walk(node)[first], 1.0,
          "Without recursion: a list of what is still open.")
