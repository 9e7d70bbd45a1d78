"""Two steps of each rule from numbers at which every usual slip shows."""

from __future__ import annotations

import numpy as np
from grading import Answer, close

X = np.array([1.0, -2.0, 0.5])
G = np.array([0.5, -1.0, 2.0])
TINY = np.array([2e-7, -5e-8, 1e-7])  # of the size of eps: where eps stands can be seen
INSIDE = "eps belongs outside the root, sqrt(s) + 1e-7: inside it is far too large for small s."


def check_sgd(answer: Answer) -> None:
    close("sgd: the new x", answer.sgd(X, G, lr=0.1), X - 0.1 * G, "x - lr g",
          {"That goes uphill: subtract.": X + 0.1 * G,
           "That is the step, not the place after it.": -0.1 * G,
           "lr is missing.": X - G})


def check_momentum(answer: Answer) -> None:
    v = np.array([1.0, 0.5, -1.0])
    x, new = answer.momentum(X, G, v, lr=0.1, rho=0.9)
    close("momentum: the new v", new, 0.9 * v + G, "v = rho v + g",
          {"On this slide lr stands outside v: v = rho v + g.": 0.9 * v + 0.1 * G,
           "lr stands outside v, and the sign comes with the step.": 0.9 * v - 0.1 * G,
           "The gradient is added whole; 1 - rho belongs to leaky means.": 0.9 * v + 0.1 * 1.0 * G,
           "The old velocity is slowed down by rho.": v + G})
    close("momentum: the new x", x, X - 0.1 * (0.9 * v + G), "x - lr v, with the new v",
          {"That is the old v: first the new one, then the step.": X - 0.1 * v})


def check_adagrad(answer: Answer) -> None:
    s = np.array([4.0, 0.0, 1.0])
    x, new = answer.adagrad(X, G, s, lr=0.1)
    close("adagrad: the new s", new, s + G * G, "s + g*g: all squares so far",
          {"Squares are summed, not gradients.": s + G,
           "It has to add to what was there.": G * G})
    close("adagrad: the new x", x, X - 0.1 * G / np.sqrt(s + G * G), "x - lr g / (sqrt(s) + 1e-7)",
          {"The root is missing: sqrt(s).": X - 0.1 * G / (s + G * G)})
    x, _ = answer.adagrad(X, TINY, np.zeros(3), lr=0.1)
    close("adagrad: the new x of tiny gradients", x, X - 0.1 * TINY / (abs(TINY) + 1e-7),
          "x - lr g / (sqrt(s) + 1e-7)",
          {INSIDE: X - 0.1 * TINY / np.sqrt(TINY**2 + 1e-7),
           "Where is the 1e-7? At g = 0 this is 0/0.": X - 0.1 * np.sign(TINY)})


def check_rmsprop(answer: Answer) -> None:
    s = np.array([4.0, 1.0, 0.25])
    x, new = answer.rmsprop(X, G, s, lr=0.1, decay=0.9)
    wanted = 0.9 * s + 0.1 * G * G
    close("rmsprop: the new s", new, wanted, "decay s + (1 - decay) g*g",
          {"The new squares get the share 1 - decay; else this is no mean.": 0.9 * s + G * G,
           "The shares are swapped: decay is that of the old.": 0.1 * s + 0.9 * G * G,
           "This sums for ever, as AdaGrad does: let s leak.": s + G * G})
    close("rmsprop: the new x", x, X - 0.1 * G / (np.sqrt(wanted) + 1e-7),
          "x - lr g / (sqrt(s) + 1e-7), with the new s")
    x, new = answer.rmsprop(X, TINY, np.zeros(3), lr=0.1, decay=0.9)
    close("rmsprop: the new x of tiny gradients", x,
          X - 0.1 * TINY / (np.sqrt(0.1 * TINY**2) + 1e-7), "x - lr g / (sqrt(s) + 1e-7)",
          {INSIDE: X - 0.1 * TINY / np.sqrt(0.1 * TINY**2 + 1e-7)})


def check_adam(answer: Answer) -> None:
    m, v = np.array([0.1, 0.2, -0.3]), np.array([0.01, 0.04, 0.09])
    x, new_m, new_v = answer.adam(X, G, m, v, 3, lr=0.1)
    wanted_m, wanted_v = 0.9 * m + 0.1 * G, 0.999 * v + 0.001 * G * G
    close("adam: the new m", new_m, wanted_m, "beta1 m + (1 - beta1) g",
          {"m is a mean of g, not of its square.": 0.9 * m + 0.1 * G * G,
           "The new gradient gets the share 1 - beta1.": 0.9 * m + G,
           "Return m as it is kept, without the correction: the next step needs that.":
               wanted_m / (1 - 0.9**3)})
    close("adam: the new v", new_v, wanted_v, "beta2 v + (1 - beta2) g*g",
          {"v is a mean of squares: g*g.": 0.999 * v + 0.001 * G,
           "The new square gets the share 1 - beta2.": 0.999 * v + G * G,
           "v leaks by beta2, not by beta1.": 0.9 * v + 0.1 * G * G})

    def step(by_m: float, by_v: float) -> np.ndarray:
        return X - 0.1 * wanted_m / by_m / (np.sqrt(wanted_v / by_v) + 1e-7)

    with np.errstate(all="ignore"):
        close("adam: the new x in step 3", x, step(1 - 0.9**3, 1 - 0.999**3),
              "x - lr unbiased_m / (sqrt(unbiased_v) + 1e-7)",
              {"The correction is missing: divide m and v by 1 - beta^t.": step(1.0, 1.0),
               "t counts from 1 already: no t - 1 (it would be a division by 0 at the start).":
                   step(1 - 0.9**2, 1 - 0.999**2),
               "t counts from 1 already: no t + 1.": step(1 - 0.9**4, 1 - 0.999**4),
               "A power: 1 - beta**t. Here beta is multiplied by t.":
                   step(1 - 0.9 * 3, 1 - 0.999 * 3),
               "v has a correction of its own, 1 - beta2**t.": step(1 - 0.9**3, 1 - 0.9**3),
               "Only m is corrected; v is too small at first as well.": step(1 - 0.9**3, 1.0)})
    x, _, _ = answer.adam(X, TINY, np.zeros(3), np.zeros(3), 1, lr=0.1)
    close("adam: the new x of tiny gradients in step 1", x,
          X - 0.1 * TINY / (abs(TINY) + 1e-7), "eps is added to the root of the corrected v",
          {INSIDE.replace("s)", "v)").replace("small s", "small v"):
               X - 0.1 * TINY / np.sqrt(TINY**2 + 1e-7),
           "eps is added after the correction, to the root of unbiased_v.":
               X - 0.1 * TINY / (abs(TINY) + 1e-7 / np.sqrt(0.001))})
