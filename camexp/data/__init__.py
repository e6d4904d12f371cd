"""Data sets of images: finding, checking, splitting, loading."""

from camexp.data.build import build_images
from camexp.data.caltech import find_caltech101, find_caltech256
from camexp.data.cub200 import find_cub200
from camexp.data.huggingface import find_huggingface
from camexp.data.imagefolder import find_imagefolder
from camexp.data.imagenet import find_imagenet
from camexp.data.imageset import ImageSet
from camexp.data.plugins import find_plugin
from camexp.data.shapes import find_shapes
from camexp.data.source import ImageSource
from camexp.data.splits import Split, class_table, split_images
from camexp.data.torchvision_sets import find_torchvision
from camexp.data.webdataset import find_webdataset
from camexp.data.wsol import find_wsol
from camexp.images import UnreadableImage, read_image

__all__ = [
    "ImageSet",
    "ImageSource",
    "Split",
    "UnreadableImage",
    "build_images",
    "class_table",
    "find_caltech101",
    "find_caltech256",
    "find_cub200",
    "find_huggingface",
    "find_imagefolder",
    "find_imagenet",
    "find_plugin",
    "find_shapes",
    "find_torchvision",
    "find_webdataset",
    "find_wsol",
    "read_image",
    "split_images",
]
