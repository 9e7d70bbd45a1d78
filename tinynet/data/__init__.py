"""Data: CIFAR-10, the built-in set `shapes`, your own pictures; batches and augmentation.

Arrays only: nothing here knows of tensors or layers. Read next: `dataset.py`, `loader.py`.
"""

from .augment import (
    Compose,
    Normalize,
    RandomApply,
    RandomHorizontalFlip,
    Transform,
    channel_statistics,
)
from .cifar10 import load_cifar10
from .colour import ColorJitter, PCALighting
from .crops import RandomCrop, RandomResizedCrop, ResNetCrop
from .dataset import Dataset, from_arrays
from .download import DownloadError
from .erase import Cutout, RandomErasing
from .folder import from_folder
from .geometry import LensDistortion, RandomAffine
from .loader import DataLoader
from .mix import BatchTransform, CutMix, Mixup
from .resample import resize
from .shapes import load_shapes
from .views import flips, resnet_crops, ten_crops

__all__ = [
    "BatchTransform",
    "ColorJitter",
    "Compose",
    "CutMix",
    "Cutout",
    "DataLoader",
    "Dataset",
    "DownloadError",
    "LensDistortion",
    "Mixup",
    "Normalize",
    "PCALighting",
    "RandomAffine",
    "RandomApply",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "ResNetCrop",
    "Transform",
    "channel_statistics",
    "flips",
    "from_arrays",
    "from_folder",
    "load_cifar10",
    "load_shapes",
    "resize",
    "resnet_crops",
    "ten_crops",
]
