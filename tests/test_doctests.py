"""Every doctest of the library runs, each module's under the same checks as any other test.

They are short: at most 8 lines to read, except in a module's own docstring.
"""

from __future__ import annotations

import doctest
import importlib
import io

import numpy as np
import pytest

from tests.test_architecture import modules

WITH_DOCTESTS = [name for name, path in sorted(modules().items())
                 if ">>>" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("name", WITH_DOCTESTS)
def test_doctests(name: str) -> None:
    module = importlib.import_module(name)
    names = {"tn": importlib.import_module("tinynet"), "np": np} | vars(module)
    report = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, name, globs=names):
        runner.run(test, out=report.write)
        length = sum(example.source.count("\n") for example in test.examples)
        assert length <= 8 or test.name == name, f"{test.name}: a doctest of {length} lines"
    assert runner.failures == 0, report.getvalue()
    assert runner.tries > 0, f"{name} shows >>> where doctest does not look (a comment?)"
