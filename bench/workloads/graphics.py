"""What runs on a page's GPU, whose adapter here is a software one: some of the other workloads.

A step of the convolutional network with its batch of 64 takes TensorFlow.js too long there: it is
done with 8 as well, by all that train, and with 64 by tabgrad and jax-js. What takes onnxruntime
seconds is not repeated within one call, either: its copies weigh nothing there.
"""

from __future__ import annotations

from dataclasses import replace

from bench import workloads
from bench.models import cnn
from bench.workload import Workload
from bench.workloads import networks

NAMES = (
    "matmul/256",
    "matmul/512",
    "matmul/1024",
    "conv/3x3-56x56x64-64",
    "conv/3x3-14x14x256-256",
    "depthwise/3x3-56x56x144",
    "chain/4Mi",
    "softmax/1000x1000",
    "layer-norm/1000x1000",
    "sum/1000x1000",
    "transpose/1000x1000",
    "infer/mobilenet",
    "train/mlp",
    "train/cnn-8",
    "train/cnn",
)
_CNN = workloads.ALL["train/cnn"]
_SLOW = {"tfjs": "left out: a step would take as long as eight of train/cnn-8"}
_LONG = ("matmul/1024", "conv/3x3-56x56x64-64", "conv/3x3-14x14x256-256")
_OWN = {
    **{name: replace(workloads.ALL[name], repeats=1) for name in _LONG},
    "train/cnn": replace(_CNN, cannot={**_CNN.cannot, **_SLOW}),
    "train/cnn-8": networks.with_batch(_CNN, cnn, 8),
}
ALL: dict[str, Workload] = {name: _OWN.get(name) or workloads.ALL[name] for name in NAMES}
