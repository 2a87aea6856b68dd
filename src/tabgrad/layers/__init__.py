"""Keras 3 layers, channels last: one file a family."""

from tabgrad.layers.activation import Activation, ReLU, Softmax
from tabgrad.layers.base import Input, InputLayer, Layer
from tabgrad.layers.convolution import Conv2D
from tabgrad.layers.dense import Dense
from tabgrad.layers.normalization import BatchNormalization
from tabgrad.layers.pooling import AveragePooling2D, GlobalAveragePooling2D, MaxPooling2D
from tabgrad.layers.regularization import Dropout
from tabgrad.layers.reshaping import Flatten, Reshape
from tabgrad.ops.public import publish_classes

__all__ = [
    "Activation",
    "AveragePooling2D",
    "BatchNormalization",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling2D",
    "Input",
    "InputLayer",
    "Layer",
    "MaxPooling2D",
    "ReLU",
    "Reshape",
    "Softmax",
]

publish_classes(globals())
