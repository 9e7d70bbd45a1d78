"""A net among scikit-learn's estimators: in its searches, and by its own conventions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.examples.test_cifar10 import loaded

pytest.importorskip("sklearn", reason="needs scikit-learn: pip install scikit-learn")


@pytest.fixture(scope="module")
def example() -> Any:
    return loaded("sklearn_estimator")


@pytest.fixture(scope="module")
def few(example: Any) -> tuple[Any, Any]:
    X, y = example.load_digits(return_X_y=True)
    return X[:240], y[:240]


def test_the_example_prints_a_table(example: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert example.main(["--epochs", "2", "--folds", "2"]) == 0
    said = capsys.readouterr().out
    assert "1,797 digits, 2 folds:" in said and "hidden" in said
    assert "best: {'netclassifier__hidden': 64, 'netclassifier__lr': 0.01}" in said


def test_it_learns_names_of_classes_and_says_their_chances(example: Any, few: Any) -> None:
    X, y = few
    names = np.array([f"digit {label}" for label in y])
    net = example.NetClassifier(lr=0.01).fit(X / 16, names)
    chances = net.predict_proba(X / 16)
    assert net.score(X / 16, names) > 0.9 and set(net.predict(X / 16)) <= set(net.classes_)
    assert chances.shape == (240, 10) and np.allclose(chances.sum(axis=1), 1, atol=1e-5)
    again = example.NetClassifier(lr=0.01).fit(X / 16, names)
    assert np.array_equal(again.predict_proba(X / 16), chances)


def test_parameters_are_kept_and_cloned(example: Any) -> None:
    from sklearn.base import clone

    net = example.NetClassifier(hidden=8, lr=0.1)
    assert net.get_params() == {"hidden": 8, "lr": 0.1, "epochs": 10, "batch_size": 64,
                                "dropout": 0.0, "seed": 0}
    assert clone(net).set_params(hidden=4).hidden == 4 and net.hidden == 8


def test_wrong_use_is_named(example: Any, few: Any) -> None:
    from sklearn.exceptions import NotFittedError

    X, y = few
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        example.NetClassifier().predict(X)
    with pytest.raises(ValueError, match="needs two classes or more, got 1"):
        example.NetClassifier().fit(X, np.zeros(240, int))
    with pytest.raises(ValueError, match="expecting 64 features"):
        example.NetClassifier(epochs=1).fit(X, y).predict(X[:, :10])
