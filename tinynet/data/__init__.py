"""Data: CIFAR-10, the built-in set `shapes`, your own pictures; batches and augmentation.

Arrays only: nothing here knows of tensors or layers.

Read next: `data/dataset.py`.
"""
# ruff: noqa: I001  (exported names stand side by side)

from .cifar10 import load_cifar10 as load_cifar10
from .colour import (
    ColorJitter as ColorJitter, LightJitter as LightJitter,
    PCALighting as PCALighting,
)
from .crops import (
    RandomCrop as RandomCrop, RandomResizedCrop as RandomResizedCrop,
    ResNetCrop as ResNetCrop,
)
from .dataset import Dataset as Dataset, from_arrays as from_arrays
from .download import DownloadError as DownloadError
from .erase import Cutout as Cutout, RandomErasing as RandomErasing
from .folder import from_folder as from_folder
from .geometry import LensDistortion as LensDistortion, RandomAffine as RandomAffine
from .loader import DataLoader as DataLoader
from .mix import BatchTransform as BatchTransform, CutMix as CutMix, Mixup as Mixup
from .picture import read_picture as read_picture
from .pixels import channel_statistics as channel_statistics
from .resample import resize as resize
from .shapes import load_shapes as load_shapes
from .transform import (
    Compose as Compose,
    Normalize as Normalize,
    RandomApply as RandomApply,
    RandomHorizontalFlip as RandomHorizontalFlip,
    Transform as Transform,
)
from .views import flips as flips, resnet_crops as resnet_crops, ten_crops as ten_crops
from ..names import lister as _lister

__dir__ = _lister(__name__)
