"""The engine on one screen: reverse-mode differentiation of arrays, to any order.

    y = f(x),  dL/dx = (dy/dx)^T dL/dy: each operation pulls the gradient of its
    result back to its inputs; a walk from the loss to the leaves does so for all.

A Value is an array and, for each input that it was made of, a rule that pulls the
gradient back. The rules are themselves written with Values, so a gradient has a
graph of its own and can be differentiated again. tinynet is the same idea with
more operations, less memory and more speed: `tinynet/tensor.py`.

    python examples/micro.py        trains a small net on two spirals, 3 s
"""

from __future__ import annotations

import argparse

import numpy as np


class Value:
    """An array that remembers how it was made: pairs of an input and its rule."""

    def __init__(self, data, made_of=()):
        self.data = np.asarray(data, dtype=float)
        self.made_of = made_of

    def __add__(self, other):
        other = as_value(other)
        return Value(self.data + other.data, [
            (self, lambda g: g.sum_to(self.data.shape)),
            (other, lambda g: g.sum_to(other.data.shape)),
        ])

    def __mul__(self, other):
        other = as_value(other)
        return Value(self.data * other.data, [
            (self, lambda g: (g * other).sum_to(self.data.shape)),
            (other, lambda g: (g * self).sum_to(other.data.shape)),
        ])

    def __pow__(self, n):  # n is a number, never a Value
        return Value(self.data**n, [(self, lambda g: g * n * self ** (n - 1))])

    def __matmul__(self, other):  # of matrices
        other = as_value(other)
        return Value(self.data @ other.data, [
            (self, lambda g: g @ other.transpose()),
            (other, lambda g: self.transpose() @ g),
        ])

    def exp(self):
        result = Value(np.exp(self.data))
        result.made_of = [(self, lambda g: g * result)]  # e^x is its own derivative
        return result

    def log(self):
        return Value(np.log(self.data), [(self, lambda g: g * self**-1)])

    def relu(self):
        passed = self.data > 0
        return Value(self.data * passed, [(self, lambda g: g * passed)])

    def transpose(self):
        return Value(self.data.T, [(self, lambda g: g.transpose())])

    def broadcast_to(self, shape):
        return Value(np.broadcast_to(self.data, shape),
                     [(self, lambda g: g.sum_to(self.data.shape))])

    def sum_to(self, shape):
        """The adjoint of broadcasting: what was copied along an axis is added up again."""
        if shape == self.data.shape:
            return self
        new = tuple(range(self.data.ndim - len(shape)))  # axes that broadcasting put in front
        total = self.data.sum(axis=new)
        for axis, size in enumerate(shape):
            if size == 1:
                total = total.sum(axis=axis, keepdims=True)
        return Value(total, [(self, lambda g: g.broadcast_to(self.data.shape))])

    def sum(self):
        return self.sum_to(())

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + -as_value(other)

    def __truediv__(self, other):
        return self * as_value(other) ** -1

    def __radd__(self, other):
        return self + other

    def __rmul__(self, other):
        return self * other


def as_value(x):
    return x if isinstance(x, Value) else Value(x)


def grad(loss, wanted):
    """d loss / d each of `wanted`: Values, which can be differentiated again."""
    order = []  # every Value after those that it was made of
    seen = set()
    stack = [(loss, False)]
    while stack:
        value, inputs_are_done = stack.pop()
        if inputs_are_done:
            order.append(value)
        elif value not in seen:
            seen.add(value)
            stack.append((value, True))
            stack.extend((x, False) for x, _ in value.made_of)
    gradients = {loss: Value(np.ones_like(loss.data))}
    for value in reversed(order):  # so its gradient is complete before it is passed on
        for x, rule in value.made_of:
            part = rule(gradients[value])
            gradients[x] = gradients[x] + part if x in gradients else part
    return [gradients.get(x, Value(np.zeros_like(x.data))) for x in wanted]


def spirals(rng, n=100):
    """Two arms of n points each, and which arm a point is of."""
    turn = np.sqrt(rng.random(n)) * 3 * np.pi
    arm = np.stack([turn * np.cos(turn), turn * np.sin(turn)], axis=1) / (3 * np.pi)
    noise = rng.normal(scale=0.01, size=(2 * n, 2))
    return np.concatenate([arm, -arm]) + noise, np.repeat([1.0, -1.0], n)[:, None]


def net(x, weights):
    for w, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        x = (x @ w + b).relu()
    return x @ weights[-2] + weights[-1]


def train(steps=1500, lr=0.05, rho=0.9, seed=0):
    """Momentum as on the slide: v = rho v + g, x -= lr v. Returns the share of points learnt."""
    rng = np.random.default_rng(seed)
    points, arm = spirals(rng)
    weights = []
    for fan_in, fan_out in ((2, 32), (32, 32), (32, 1)):
        weights.append(Value(rng.normal(size=(fan_in, fan_out)) * np.sqrt(2 / fan_in)))
        weights.append(Value(np.zeros(fan_out)))
    velocities = [np.zeros_like(w.data) for w in weights]
    for step in range(steps):
        margin = net(Value(points), weights) * arm
        loss = ((-margin).exp() + 1.0).log().sum() / len(points)  # log(1 + e^-margin)
        for i, g in enumerate(grad(loss, weights)):
            velocities[i] = rho * velocities[i] + g.data
            weights[i].data = weights[i].data - lr * velocities[i]
        if step % 300 == 0 or step == steps - 1:
            learnt = float((margin.data > 0).mean())
            print(f"step {step:5}   loss {loss.data:.4f}   learnt {learnt:.1%}")
    return learnt


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.parse_args()
    x = Value(2.0)
    y = x**3 * (x * -1.0).exp()
    (first,) = grad(y, [x])
    (second,) = grad(first, [x])
    print(f"x^3 e^-x at 2:  y = {y.data:.6f}   y' = {first.data:.6f}   y'' = {second.data:.6f}")
    train()


if __name__ == "__main__":
    main()
