"""Tab completion offers what is public, and nothing else."""

from __future__ import annotations

import importlib
import inspect

import pytest

from tests.test_exports import PUBLIC, names_in, sources


@pytest.mark.parametrize("module", PUBLIC)
def test_dir_lists_the_public_names_alone(module: str) -> None:
    assert dir(importlib.import_module(module)) == sorted(set(names_in(sources()[module])))


def test_without_sources_nothing_private_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: object) -> str:
        raise OSError("could not get source code")

    monkeypatch.setattr(inspect, "getsource", missing)
    found = dir(importlib.import_module("tinynet.optim.schedule"))
    assert "cosine" in found and not [name for name in found if name.startswith("_")]
