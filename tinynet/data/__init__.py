"""Data: CIFAR-10, the built-in set `shapes`, your own pictures; batches and augmentation.

Arrays only: nothing here knows of tensors or layers. Read next: `dataset.py`, `loader.py`.
"""

from .augment import (
    Compose,
    Cutout,
    Normalize,
    RandomCrop,
    RandomHorizontalFlip,
    Transform,
    channel_statistics,
)
from .cifar10 import load_cifar10
from .dataset import Dataset, from_arrays, from_folder
from .download import DownloadError
from .loader import DataLoader
from .shapes import load_shapes

__all__ = [
    "Compose",
    "Cutout",
    "DataLoader",
    "Dataset",
    "DownloadError",
    "Normalize",
    "RandomCrop",
    "RandomHorizontalFlip",
    "Transform",
    "channel_statistics",
    "from_arrays",
    "from_folder",
    "load_cifar10",
    "load_shapes",
]
