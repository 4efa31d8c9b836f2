"""What a user declares: a Julia function, by its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from diffprog.interop import wire
from diffprog.spec import Array

Data = Mapping[str, Array | float | int | str]
"""Constants of a function, by name."""


@dataclass(frozen=True, eq=False)
class JuliaFunction:
    """A differentiable Julia function.

    ``code`` is evaluated in a module of its own, where ``DiffProgTasks.Bridge`` is in use. Its last value is a function
    of arrays and numbers that returns an array, a number or a tuple of them; or an ``Operation``, which is a function
    with rules of its own (``julia/src/bridge/``). A plain function is given Zygote for its VJP, dual numbers for its
    JVP, and these through Zygote for second order; an ``rrule`` of ChainRules is honoured.

    An array of shape (m, n) is an n × m array in Julia, on the same memory; one of shape () is a number. Results must
    be in memory that the function does not use again.

    Attributes:
        code: Julia source. It may use packages of the environment, ``include(raw"/absolute/path.jl")``, and define
            things before its last expression.
        data: constants: arrays, numbers or texts, kept as they are now. With them, the value of ``code`` is called once
            with a named tuple of them, and returns the function. Arrays may be in any order of memory or of bytes.

    Raises:
        TypeError: for a constant that cannot cross, with its name.
        ValueError: for a name that is empty or has a line break, or begins with a colon.

    Example:
        >>> softplus = JuliaFunction("x -> log1p.(exp.(x))")
    """

    code: str
    data: Data = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.code, str):
            raise TypeError(f"the code of a Julia function is a text, not {type(self.code).__name__}")
        object.__setattr__(self, "data", {name: _constant(name, value) for name, value in dict(self.data).items()})

    def __deepcopy__(self, memo: Any) -> JuliaFunction:
        return self

    @classmethod
    def from_file(cls, path: Path | str, code: str, data: Data | None = None) -> JuliaFunction:
        """``code`` after the definitions of a file.

        Raises:
            FileNotFoundError: if there is no such file.
        """
        found = Path(path).resolve(strict=True)
        return cls(f"include({_literal(str(found))})\n{code}", data or {})

    def messages(self) -> list[Array]:
        """What is sent to load it: its source, the names of its data, the data."""
        names = [f":{name}" if isinstance(value, str) else name for name, value in self.data.items()]
        values = [wire.text(value) if isinstance(value, str) else np.asarray(value) for value in self.data.values()]
        return [wire.text(self.code), wire.text("\n".join(names)), *values]


def _constant(name: str, value: Any) -> Array | str:
    """A text; or an array of its own that nobody changes, in the order in which it crosses."""
    if not isinstance(name, str) or not name or "\n" in name or name.startswith(":"):
        raise ValueError(f"{name!r} cannot be the name of a constant: a field of a named tuple in Julia is to have it")
    try:
        if isinstance(value, str):
            wire.text(name + value)
            return str(value)
        array = wire.native(value if isinstance(value, np.ndarray) else np.asarray(value))
        wire.code(array)
    except (TypeError, ValueError) as error:  # of NumPy for ragged lists, of Python for half a surrogate pair
        raise TypeError(f"the constant {name!r} cannot cross to Julia: {error}") from error
    array.flags.writeable = False
    return array


def _literal(text: str) -> str:
    """A text as a literal of Julia's, whatever is in it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("\n", "\\n")
    return f'"{escaped}"'
