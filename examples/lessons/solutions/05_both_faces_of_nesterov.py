"""5. Both faces of Nesterov: what the lesson asks for."""


def look_ahead(x, v, gradient, lr=0.01, rho=0.9):
    """The new x and v."""
    v = rho * v - lr * gradient(x + rho * v)
    return x + v, v


def change_of_variables(z, v, g, lr=0.01, rho=0.9):
    """The new z and v, where g is the gradient at z."""
    old = v
    v = rho * v - lr * g
    return z - rho * old + (1 + rho) * v, v


def back_to_x(z, v, rho=0.9):
    """The place x, from the z and v of the second face."""
    return z - rho * v
