"""How an object is written in a config: the dict that Keras's `serialize` functions give.

Not here: what an object's own config holds (its `get_config`), and making objects of configs (the
`get` of each module).
"""

from __future__ import annotations

from typing import Any


def config_of(instance: Any, module: str) -> dict[str, Any]:
    """The config dict of a layer, a loss, an optimizer or an initializer, of `keras.<module>`.

    Example:
        >>> from tabgrad.initializers import Zeros
        >>> config_of(Zeros(), "initializers")["class_name"]
        'Zeros'
    """
    return {
        "module": f"keras.{module}",
        "class_name": type(instance).__name__,
        "config": instance.get_config(),
        "registered_name": None,
    }
