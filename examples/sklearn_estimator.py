"""A net of tinynet as an estimator of scikit-learn: in a pipeline, a cross-validation, a search.

    python -m pip install scikit-learn
    python examples/sklearn_estimator.py           digits of 8x8 pixels, about a minute

scikit-learn asks little of a classifier: __init__ keeps its arguments as they are, under their own
names; fit(X, y) learns, and sets attributes that end in an underscore; predict answers. What
BaseEstimator and ClassifierMixin add is get_params, set_params, clone and score.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np

import tinynet as tn
from tinynet import data, functional as F, nn, optim, train
from tinynet.optim.schedule import cosine
from tinynet.text import table

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.datasets import load_digits
    from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    sys.exit(f"this example needs scikit-learn, 1.6 or newer ({error}): "
             "python -m pip install scikit-learn")


class NetClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Rows of numbers -> one hidden layer -> classes of any kind, text too."""

    def __init__(self, hidden: int = 64, lr: float = 0.01, epochs: int = 10,
                 batch_size: int = 64, dropout: float = 0.0, seed: int = 0) -> None:
        self.hidden = hidden
        self.lr = lr
        self.epochs = epochs
        self.batch_size = batch_size
        self.dropout = dropout
        self.seed = seed

    def fit(self, X: Any, y: Any) -> NetClassifier:
        X, y = validate_data(self, X, y, dtype="float32")
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"NetClassifier needs two classes or more, got {len(self.classes_)} "
                             "class")
        tn.manual_seed(self.seed)
        self.net_ = nn.Sequential(
            nn.Linear(X.shape[1], self.hidden), nn.ReLU(), nn.Dropout(self.dropout),
            nn.Linear(self.hidden, len(self.classes_)))
        loader = data.DataLoader(X, labels, self.batch_size, seed=self.seed)
        optimizer = optim.Adam(self.net_.named_parameters(),
                               lr=cosine(self.lr, self.epochs * len(loader)))
        trainer = train.Trainer(self.net_, optimizer, progress=False)
        self.history_ = trainer.fit(loader, epochs=self.epochs)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, dtype="float32", reset=False)
        self.net_.eval()
        with tn.no_grad():
            return F.softmax(self.net_(tn.tensor(X))).numpy()

    def predict(self, X: Any) -> np.ndarray:
        places = self.predict_proba(X).argmax(axis=1)
        return self.classes_[places]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--epochs", type=int, default=10, help="of each training (default: 10)")
    parser.add_argument("--folds", type=int, default=3, help="of the validation (default: 3)")
    args = parser.parse_args(argv)
    if args.epochs < 1 or args.folds < 2:
        parser.error("--epochs is at least 1, --folds at least 2")
    X, y = load_digits(return_X_y=True)
    folds = StratifiedKFold(args.folds, shuffle=True, random_state=0)
    pipeline = make_pipeline(StandardScaler(), NetClassifier(epochs=args.epochs))

    scores = cross_val_score(pipeline, X, y, cv=folds)
    print(f"{len(X):,} digits, {args.folds} folds: {scores.mean():.1%} right, "
          f"folds from {scores.min():.1%} to {scores.max():.1%}\n")

    grid = {"netclassifier__hidden": [16, 64], "netclassifier__lr": [0.001, 0.01]}
    search = GridSearchCV(pipeline, grid, cv=folds).fit(X, y)
    found = search.cv_results_
    rows = [[f"{p['netclassifier__hidden']}", f"{p['netclassifier__lr']:g}", f"{mean:.1%}",
             f"{100 * spread:.1f}"]
            for p, mean, spread in zip(found["params"], found["mean_test_score"],
                                       found["std_test_score"], strict=True)]
    print(table([["hidden", "lr", "right", "spread"], *rows], align="rrrr", rules=[1]))
    print(f"\nbest: {search.best_params_}, {search.best_score_:.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
