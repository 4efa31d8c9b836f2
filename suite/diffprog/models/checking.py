"""What a user's loss must be, told in the user's words: asked once while a cell is built, never while it is timed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from diffprog.models import arrays, loading
from diffprog.models.loading import Fault
from diffprog.spec import Array


class Guarded:
    """A user's function whose exceptions come with file and line. It is not in the way where the function is timed."""

    def __init__(self, function: Callable[..., Any], folder: Path, hints: Callable[[BaseException], str]) -> None:
        self._function, self._folder, self._hints = function, folder, hints

    def __call__(self, *arguments: Any) -> Any:
        try:
            return self._function(*arguments)
        except Fault:
            raise
        except MemoryError:
            raise
        except Exception as error:
            if "out of memory" in str(error).lower() or type(error).__name__ == "OutOfMemoryError":
                raise
            hint = self._hints(error)
            raise Fault(loading.told(error, self._folder) + (f"; {hint}" if hint else "")) from error


def signature(function: Callable[..., Any], where: str) -> None:
    """Raises Fault unless the function can be called with params and data."""
    try:
        inspect.signature(function).bind({}, {})
    except TypeError as error:
        raise Fault(f"{where}: loss must take two arguments, params and data ({error})") from None
    except ValueError:  # of a function that Python knows nothing of
        return


def value(found: Any, shape: tuple[int, ...], kind: str, dtype: str, wanted: str, where: str) -> None:
    """Raises Fault unless a loss is one real, finite number of the cell's precision.

    Args:
        found: the number on the host.
        kind: NumPy's kind of its dtype.
        dtype: its dtype, by name.
        wanted: the cell's precision.
    """
    if shape not in ((), (1,)) or shape == (1,):
        raise Fault(
            f"{where}: loss returns an array of shape {shape}; it must return one number: sum it, or take its mean"
        )
    if kind == "c":
        raise Fault(f"{where}: loss returns a complex number; take its real part, or its absolute value")
    if kind != "f":
        raise Fault(f"{where}: loss returns {dtype}, which cannot be differentiated; it must be {wanted}")
    if dtype != wanted:
        raise Fault(
            f"{where}: loss returns {dtype} where parameters and data are {wanted}: something in it is of another dtype"
        )
    if not np.isfinite(found):
        raise Fault(f"{where}: loss is {found} at these inputs; it must be finite")


def unchanged(before: Mapping[str, Array], after: Mapping[str, Array], where: str) -> None:
    """Raises Fault, with the name, if a call has written into its inputs."""
    for name, array in before.items():
        if not np.array_equal(array, after[name], equal_nan=True):
            raise Fault(f"{where}: loss changes its input {name!r} in place; work on a copy")


def outputs(found: Any, where: str) -> dict[str, Any]:
    """The user's outputs by name.

    Raises:
        Fault: if they are none.
    """
    if not isinstance(found, Mapping) or not all(isinstance(name, str) and name.isidentifier() for name in found):
        raise Fault(f"{where}: outputs must return a dict of names and arrays")
    return dict(found)


def described(config_shapes: arrays.Shapes) -> str:
    """The parameters with their shapes, for sentences."""
    return ", ".join(f"{name} {shape}" for name, shape in config_shapes)
