"""Sizes at which each part of the formula shows, and convolutions by six loops."""

from __future__ import annotations

import numpy as np
from grading import Answer, close

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 3, 5, 6))
W = RNG.normal(size=(4, 3, 2, 2))


def by_loops(x: np.ndarray, w: np.ndarray, stride: int, pad: int) -> np.ndarray:
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    k = w.shape[2]
    high, wide = ((n - k) // stride + 1 for n in x.shape[2:])
    y = np.empty((len(x), len(w), high, wide))
    for n, o, i, j in np.ndindex(y.shape):
        window = x[n, :, i * stride:i * stride + k, j * stride:j * stride + k]
        y[n, o, i, j] = (window * w[o]).sum()
    return y


def check_output_size(answer: Answer) -> None:
    for n, k, stride, pad in ((5, 3, 1, 0), (32, 5, 1, 2), (32, 5, 2, 2), (7, 3, 2, 0),
                              (224, 7, 2, 3)):
        close(f"output_size({n}, {k}, stride={stride}, pad={pad})",
              answer.output_size(n, k, stride, pad), (n + 2 * pad - k) // stride + 1,
              "(n + 2 pad - k) // stride + 1",
              {"One more fits: the first window begins at 0.": (n + 2 * pad - k) // stride,
               "Zeros stand on both ends: 2 pad.": (n + pad - k) // stride + 1,
               "Windows that hang over do not count: //, a whole number.":
                   (n + 2 * pad - k) / stride + 1,
               "The stride is missing.": n + 2 * pad - k + 1})


def check_columns(answer: Answer) -> None:
    rows = answer.columns(X, 2, 1, 0)
    channels_last = X[:, :, :2, :2].transpose(0, 2, 3, 1).reshape(2, -1)
    close("the shape of columns(x, 2) of pictures (2, 3, 5, 6)", np.shape(rows), (2, 4, 5, 12))
    close("the first window of each picture", rows[:, 0, 0], X[:, :, :2, :2].reshape(2, -1),
          "x[:, :, top:top + k, left:left + k].reshape(N, -1)",
          {"The channels come first in a row, as they do in the weights.": channels_last})
    close("the window at row 2, column 3", rows[:, 2, 3], X[:, :, 2:4, 3:5].reshape(2, -1),
          "top counts rows, left columns",
          {"Rows and columns are swapped.": X[:, :, 3:5, 2:4].reshape(2, -1)})
    close("the window at row 1, column 1, stride 2", answer.columns(X, 2, 2, 0)[:, 1, 1],
          X[:, :, 2:4, 2:4].reshape(2, -1), "top = i * stride",
          {"The windows begin every `stride` pixels: i * stride.":
               X[:, :, 1:3, 1:3].reshape(2, -1)})


def check_conv(answer: Answer) -> None:
    for stride, pad in ((1, 0), (2, 1)):
        close(f"conv with stride {stride} and pad {pad}", answer.conv(X, W, stride, pad),
              by_loops(X, W, stride, pad), "columns @ w.reshape(O, -1).T, then O behind N",
              {"The output channels belong behind N: transpose(0, 3, 1, 2).":
                   by_loops(X, W, stride, pad).transpose(0, 2, 3, 1),
               "The window is turned round here; nets do not do that.":
                   by_loops(X, W[:, :, ::-1, ::-1], stride, pad),
               "A reshape does not move axes: transpose(0, 3, 1, 2).":
                   by_loops(X, W, stride, pad).transpose(0, 2, 3, 1).reshape(
                       by_loops(X, W, stride, pad).shape),
               "stride and pad are not passed on.": by_loops(X, W, 1, 0)})
