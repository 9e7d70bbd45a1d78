"""Objectives that other processes can import."""

from __future__ import annotations

import os
import time
from typing import Any

from threadpoolctl import threadpool_info

from tinynet import get_num_workers, rand


def square(config: dict[str, Any]) -> float:
    return -float((config["x"] - 0.3) ** 2)


def slow_square(config: dict[str, Any]) -> float:
    time.sleep(0.03)
    return square(config)


def noisy(config: dict[str, Any]) -> dict[str, Any]:
    """A score that depends on random numbers, and where it was computed."""
    blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    return {"score": config["x"] + rand(3).sum().item(), "process": os.getpid(),
            "workers": get_num_workers(), "blas": blas}
