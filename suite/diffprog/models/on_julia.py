"""A user's model in Julia. Arrays cross in column-major order, so that W[i, j] is W[i + 1, j + 1] there."""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from diffprog.models import arrays, checking, loading
from diffprog.models.declaring import ModelConfig
from diffprog.models.loading import Fault
from diffprog.spec import Array, Arrays

FILE = loading.FILES["julia"]
LITERALS = {
    "float32": "a literal such as 0.5 is Float64: write 0.5f0, or convert it to eltype(params.…)",
    "float64": "a literal such as 0.5f0 is Float32: write 0.5",
}
"""What makes a Julia loss of another type than its parameters, most of all; by what these are."""


def spelt(name: str) -> str:
    """A name as Julia reads it: composed (NFC), and the micro sign and the open e are Greek letters there."""
    return unicodedata.normalize("NFC", name).replace("\u00b5", "\u03bc").replace("\u025b", "\u03b5")


class Model:
    """A user's file, loaded.

    Args:
        julia: juliacall's ``Main``.
        tasks: the Julia module DiffProgTasks.
        config: the problem.
        precision: ``float64`` or ``float32``.

    Raises:
        Fault: with file, line and reason.
    """

    def __init__(self, julia: Any, tasks: Any, config: ModelConfig, precision: str) -> None:
        self._julia, self._models, self._options = julia, tasks.Models, tasks.options
        self._precision = precision
        self.folder, self.shapes = Path(config.folder), config.shapes
        self.where = str(self.folder / FILE)
        if not (self.folder / FILE).is_file():
            raise Fault(f"{self.where}: there is no such file")
        with self.faults():
            self._space = self._models.load_model(self.where)

    def problem(self, data: Mapping[str, Any]) -> Any:
        """The problem with arrays that Julia has. It is a call of its own: only then Julia sees what was loaded."""
        # Keywords come to Julia in any order, and that of the parameters is θ's.
        names, shapes = tuple(spelt(name) for name, _ in self.shapes), tuple(shape for _, shape in self.shapes)
        data = {spelt(name): x for name, x in data.items()}
        with self.faults():
            return self._models.model(self._space, self._precision, names, shapes, self._options(**data))

    def arrays(self, inputs: Arrays) -> Arrays:
        """Inputs as Julia is to have them."""
        return arrays.column_major(inputs, self.shapes)

    def there(self, theta: Array) -> Array:
        """θ, or what belongs to it, as Julia has it."""
        return arrays.theta_to_columns(theta, self.shapes)

    def back(self, theta: Array) -> Array:
        """θ, or what belongs to it, from Julia."""
        return arrays.theta_from_columns(theta, self.shapes)

    def outputs(self, found: Mapping[Any, Any]) -> Arrays:
        """Outputs from Julia, in NumPy's order."""
        return {str(name): np.array(np.asarray(x), order="C") for name, x in found.items()}

    def fetch_value(self, inputs: Arrays, held: Arrays) -> Callable[[Any], float]:
        """What brings a loss to the host. With the first one it looks whether the inputs are as they were.

        Not before that call is timed: Julia would have compiled the loss by then, and spared it its time.

        Args:
            inputs: what was handed over, in the precision.
            held: what Julia has of it.
        """
        seen = False

        def by_name(found: Arrays) -> Arrays:
            data = {name: x for name, x in found.items() if name != "params"}
            return checking.copies(found["params"], data, self.shapes)

        def fetch(loss: Any) -> float:
            nonlocal seen
            if not seen:
                checking.unchanged(by_name(self.arrays(inputs)), by_name(held), self.where)
                seen = True
            return float(loss)

        return fetch

    @contextlib.contextmanager
    def faults(self) -> Iterator[None]:
        """Within it, an exception of Julia's becomes a `Fault`, in the words of who wrote the model."""
        from juliacall import JuliaError

        try:
            yield
        except JuliaError as error:
            found, julia, models = error.exception, self._julia, self._models
            if julia.isa(found, julia.OutOfMemoryError) or julia.isa(found, julia.InterruptException):
                raise
            if julia.isa(found, models.NoNumber):
                self._no_number(*models.described(found.loss))
            if julia.isa(found, models.Fault):
                raise Fault(f"{self.where}: {found.text}") from error
            raise Fault(str(models.told(found, error.backtrace, str(self.folder)))) from error

    def _no_number(self, shape: tuple[int, ...], kind: str, dtype: str) -> None:
        try:
            checking.value(0.0, tuple(shape), str(kind), str(dtype), self._precision, self.where)
        except Fault as fault:
            hint = f"; {LITERALS[self._precision]}" if not shape and kind == "f" else ""
            raise Fault(str(fault) + hint) from None
        raise Fault(f"{self.where}: loss returns an array without dimensions; it must return one number: x[]")
