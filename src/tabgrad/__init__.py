"""tabgrad: neural networks in Python that train and run in the browser."""

from tabgrad import (
    activations, callbacks, dtypes, errors, initializers, layers, losses, metrics, ops, optimizers,
    random,
)  # fmt: skip
from tabgrad.dtypes import (
    bool_ as bool, float16, float32, float64, int8, int16, int32, int64, uint8, uint16, uint32,
    uint64,
)  # fmt: skip
from tabgrad.errors import TabgradError
from tabgrad.grad import grad, value_and_grad
from tabgrad.jit import compile
from tabgrad.layers import Input, Layer
from tabgrad.models import Model, Sequential
from tabgrad.realize import set_engine
from tabgrad.tensor import Tensor, tensor
from tabgrad.variable import Variable
from tabgrad.version import VERSION as __version__
from tabgrad.web.export import export
