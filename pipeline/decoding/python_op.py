"""An op that calls a Python function of the process in which it runs, for graphs that are sent to other processes.

`tf.numpy_function` gives its op a token under which TensorFlow finds the function in the process that built the graph, and
only there. Here the token is a name of ours, and each process registers its own function under that name. The op itself is
public (`tf.raw_ops.PyFuncStateless`); the table of functions is not, and this module alone knows it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

_PREFIX = "melstream."  # TensorFlow's own tokens are pyfunc_0, pyfunc_1, …
_registered: dict[str, Callable[..., Any]] = {}  # keeps them alive: TensorFlow's table holds weak references


class PythonOpError(ValueError):
    """This version of TensorFlow has no table of functions where this module looks for it."""


def register(name: str, function: Callable[..., Any]) -> None:
    """Has the ops of a name call a function in this process, instead of any function that was registered before.

    Args:
        name: of the op, the same in all processes.
        function: gets the op's inputs as NumPy arrays (a string scalar as bytes) and returns arrays.

    Raises:
        PythonOpError: TensorFlow has changed.
    """
    check()
    _enter(name, function)


def call(name: str, inputs: Sequence[Any], types: Sequence[tf.DType]) -> list[tf.Tensor]:
    """Builds an op that calls the function of a name.

    It is declared stateless, as the function must be one of its inputs: a stateful op would lose its parallelism under op
    determinism, and a graph that is sent elsewhere should have no state here.

    Args:
        name: as it is registered in the process in which the op will run.
        inputs: tensors, or what converts to tensors.
        types: of the outputs.

    Returns:
        The outputs, of unknown shapes.
    """
    tensors = [tf.convert_to_tensor(each) for each in inputs]
    return list(tf.raw_ops.PyFuncStateless(input=tensors, token=_PREFIX + name, Tout=list(types)))


@functools.cache
def check() -> None:
    """Calls a function through an op, once a process.

    Raises:
        PythonOpError: that does not work, because TensorFlow has changed.
    """
    try:
        _enter("check", lambda number: number + np.int32(1))
        with tf.init_scope(), tf.device("CPU"):
            works = int(call("check", [tf.constant(1)], [tf.int32])[0]) == 2
    except (ImportError, AttributeError, TypeError, tf.errors.OpError):
        works = False
    if not works:
        raise PythonOpError(
            "expected a TensorFlow that finds Python functions by a name of ours, as 2.17 and 2.20 do, but "
            f"{tf.__version__} does not: let a data service decode by --decoder=tfio, or train without one"
        )


def _enter(name: str, function: Callable[..., Any]) -> None:
    from tensorflow.python.ops import script_ops

    # A plain function, not one that AutoGraph would look into: it runs outside of any graph.
    script_ops._py_funcs._funcs[_PREFIX + name] = _registered[name] = function
