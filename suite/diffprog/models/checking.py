"""What a user's loss must be, told in the user's words: asked once while a cell is built, never while it is timed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from diffprog.models import arrays, loading
from diffprog.models.loading import Fault
from diffprog.spec import Array, Arrays


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
        except (Exception, SystemExit) as error:
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


NOT_FINITE = "{where}: loss is {value} at these inputs; it must be finite"


def value(found: Any, shape: tuple[int, ...], kind: str, dtype: str, wanted: str, where: str) -> None:
    """Raises Fault unless a loss is one real, finite number of the cell's precision.

    Args:
        found: the number on the host.
        kind: NumPy's kind of its dtype.
        dtype: its dtype, by name.
        wanted: the cell's precision.
    """
    if shape != ():
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
        raise Fault(NOT_FINITE.format(where=where, value=float(found)))


def copies(theta: Array, data: Mapping[str, Array], shapes: arrays.Shapes) -> dict[str, Array]:
    """All that a loss is given, by its own names: copies, for `unchanged`."""
    return {name: np.array(x) for name, x in (arrays.named(theta, shapes) | dict(data)).items()}


def unchanged(before: Mapping[str, Array], after: Mapping[str, Array], where: str) -> None:
    """Raises Fault, with the name, if a call has written into its inputs."""
    for name, array in before.items():
        if not np.array_equal(array, after[name], equal_nan=array.dtype.kind in "fc"):
            raise Fault(f"{where}: loss changes its input {name!r} in place; work on a copy")


def outputs(found: Any, where: str) -> dict[str, Any]:
    """The user's outputs by name.

    Raises:
        Fault: if they are none.
    """
    if not isinstance(found, Mapping) or not all(isinstance(name, str) and name.isidentifier() for name in found):
        raise Fault(f"{where}: outputs must return a dict of names and arrays")
    for name, one in found.items():
        if not (hasattr(one, "shape") or isinstance(one, bool | int | float)):
            kind = type(one).__name__
            raise Fault(f"{where}: outputs gives a {kind} for {name!r}; it must be an array or a number")
    return dict(found)


def real(found: Arrays, where: Path) -> Arrays:
    """Outputs on the host; how wide integers are is the framework's affair, so they are of one width here.

    Raises:
        Fault: for one that cannot be compared.
    """
    for name, array in found.items():
        if array.dtype.kind == "c":
            raise Fault(f"{where}: the output {name!r} is complex; give its real and imaginary parts two names")
        if array.dtype.kind not in "biuf":
            raise Fault(f"{where}: the output {name!r} is of dtype {array.dtype}; it must be made of real numbers")
    return {name: array.astype(np.int64) if array.dtype.kind in "iu" else array for name, array in found.items()}
