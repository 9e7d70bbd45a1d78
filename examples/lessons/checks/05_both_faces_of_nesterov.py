"""One step of each face by hand, and that they walk the same way."""

from __future__ import annotations

import numpy as np
from grading import Answer, close, demand

X = np.array([1.0, -2.0])
V = np.array([0.5, 0.25])
K = np.array([1.0, 9.0])  # gradient: K x
LR = 0.1
RHO = 0.8


def check_look_ahead(answer: Answer) -> None:
    places = []

    def gradient(place: np.ndarray) -> np.ndarray:
        places.append(np.array(place))
        return K * place

    x, v = answer.look_ahead(X, V, gradient, lr=LR, rho=RHO)
    demand(bool(places), "gradient was never called", "Ask gradient(x + rho * v).")
    close("look_ahead asks for the gradient at a place that", places[0], X + RHO * V,
          "Ahead is x + rho v.",
          {"That is where we are: look ahead, at x + rho v. This is plain momentum.": X,
           "One goes on by rho v, not by all of v.": X + V,
           "Ahead is x + rho v: the sign.": X - RHO * V})
    wanted = RHO * V - LR * K * (X + RHO * V)
    close("look_ahead: the new v", v, wanted, "rho v - lr gradient(ahead)",
          {"In this form lr is inside v, and the gradient is subtracted.":
               RHO * V + K * (X + RHO * V)})
    close("look_ahead: the new x", x, X + wanted, "x + v, with the new v",
          {"The step is from x, not from the place ahead.": X + RHO * V + wanted,
           "v has its sign already: add it.": X - wanted})


def check_change_of_variables(answer: Answer) -> None:
    g = np.array([0.5, 1.5])
    z, v = answer.change_of_variables(X, V, g, lr=LR, rho=RHO)
    wanted = RHO * V - LR * g
    close("change_of_variables: the new v", v, wanted, "rho v - lr g, as before",
          {"lr is inside v in this form: rho v - lr g.": RHO * V + g})
    close("change_of_variables: the new z", z, X - RHO * V + (1 + RHO) * wanted,
          "z - rho old + (1 + rho) v",
          {"-rho v + (1 + rho) v is just v: the first v has to be the old one.": X + wanted,
           "Multiplied out it is z + rho^2 old - (1 + rho) lr g: rho squared, not rho.":
               X + RHO * V - (1 + RHO) * LR * g,
           "The old v leaves with a minus.": X + RHO * V + (1 + RHO) * wanted,
           "The new v comes in with 1 + rho.": X - RHO * V + wanted})


def check_same_walk(answer: Answer) -> None:
    x, v, z, w = X, np.zeros(2), X, np.zeros(2)
    for step in range(1, 21):
        x, v = answer.look_ahead(x, v, lambda place: K * place, lr=LR, rho=RHO)
        z, w = answer.change_of_variables(z, w, K * z, lr=LR, rho=RHO)
        close(f"back_to_x after step {step}", answer.back_to_x(z, w, rho=RHO), x,
              "z = x + rho v, so x = z - rho v",
              {"z lies ahead of x: go back, with a minus.": z + RHO * w,
               "That is z, the place ahead.": z,
               "Back by rho v, not by all of v.": z - w})
