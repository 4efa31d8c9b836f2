"""What runs on a GPU without the host in between: looked for where there is none, in every timed call of every method.

PyTorch: no number is read back, no constant is brought from the host, and nothing of a float32 cell is float64. Cells
are run on the CPU, and their shapes alone on the device ``meta``, where a tensor of the CPU is one too many.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from diffprog import tasks
from diffprog.backends import get
from diffprog.backends.base import Ask
from diffprog.errors import Unavailable
from diffprog.spec import Arrays

torch = pytest.importorskip("torch")
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # by PyTorch, for forward mode

CELLS = [(t, v, m) for t in tasks.NAMES for v in tasks.get(t).variants for m in tasks.get(t).methods]
EXCEPTIONS = {
    ("flow", "library"): "an adaptive solver: torchdiffeq decides on the host about each step, in float64",
    ("eigensolver", "dominant"): "Lanczos looks at its residual once a restart, conjugate gradients once an iteration",
}
"""Methods in which the host must wait for the device, and why. A test fails where one of them need not any more."""
READS = ("_local_scalar_dense", "is_nonzero", "nonzero", "_unique2", "masked_select", "equal")
"""ATen operations whose result, or its shape, the host must know."""
WIDE = (torch.float64, torch.complex128)


class Watch(TorchDispatchMode):  # type: ignore[misc]  # mypy takes torch for Any
    """Counts what a GPU would have to wait for. Python's numbers (of no dimension) are arguments of kernels: no harm.

    ``single``: the cell is float32 on the CPU; otherwise it is on the device ``meta``.
    """

    def __init__(self, *, single: bool) -> None:
        super().__init__()
        self.single, self.seen = single, Counter[str]()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = operation(*args, **(kwargs or {}))
        name = operation._schema.name.removeprefix("aten::")
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        masked = name.startswith("index") and any(x.dtype == torch.bool for x in given[1:])
        if name in READS or masked:
            self.seen[f"read: {name}"] += 1
        if name == "lift_fresh":  # torch.tensor and its like
            self.seen["constant from the host"] += 1
        made = [x for x in tree_leaves(found) if isinstance(x, torch.Tensor)]
        if self.single and any(x.dtype in WIDE and x.dim() for x in made):
            self.seen[f"float64: {name}"] += 1
        devices = {"cpu"} if self.single else {x.device.type for x in (*given, *made) if x.dim() or name == "_to_copy"}
        if devices - {"cpu"} and "cpu" in devices:
            self.seen[f"from the host: {name}"] += 1
        return found


@contextmanager
def watched(*, single: bool) -> Iterator[Counter[str]]:
    with Watch(single=single) as watch:
        yield watch.seen


def drawn(task: str, variant: str) -> tuple[Any, Arrays]:
    config = tasks.get(task).configure(variant, "tiny")
    return config, tasks.get(task).draw(config, 0)


def seen(task: str, variant: str, method: str, ask: Ask) -> dict[str, Counter[str]]:
    """What the timed calls of a float32 cell do, after their first call."""
    config, inputs = drawn(task, variant)
    backend = get("torch")
    try:
        backend.open("float32", "cpu", 1)
        cell = backend.prepare(task, config, method, inputs, ask)
    except Unavailable as error:
        pytest.skip(str(error))
    finally:
        get("torch").open("float64", "cpu", 1)
    found = {}
    for name, call in (("value", cell.value), ("derivative", cell.derivative)):
        call()  # the first: tables are made once
        with watched(single=True) as found[name]:
            call()
    return found


@pytest.mark.parametrize(("task", "variant", "method"), CELLS)
def test_torch_reads_nothing_and_brings_nothing(task: str, variant: str, method: str) -> None:
    found = seen(task, variant, method, Ask())
    if (task, method) in EXCEPTIONS:
        assert all(any(what.startswith("read") for what in counts) for counts in found.values()), found
    else:
        assert found == {"value": Counter(), "derivative": Counter()}


@pytest.mark.parametrize("operator", ["jvp", "hvp"])
@pytest.mark.parametrize("engine", ["eager", "func"])
@pytest.mark.parametrize("task", tasks.NAMES)
def test_nor_do_other_operators(task: str, operator: str, engine: str) -> None:
    variant = tasks.get(task).variants[0]
    ask = Ask(operator, engine, np.ones(drawn(task, variant)[1]["params"].size))
    found = seen(task, variant, tasks.get(task).reference_method(variant), ask)
    assert found["derivative"] == Counter()


@pytest.mark.parametrize(("task", "method"), sorted({(t, m) for t, _, m in CELLS} - EXCEPTIONS.keys()))
def test_torch_moves_nothing_to_the_device(task: str, method: str) -> None:
    config, inputs = drawn(task, tasks.get(task).variants[0])
    if task == "flow":
        config = dataclasses.replace(config, steps=2)
    data = {name: torch.from_numpy(array).to("meta") for name, array in inputs.items()}
    theta = data.pop("params")
    functions = tasks.functions(task, "torch", config, method)
    for call in (functions.value, functions.gradient):
        call(theta, data)
        with watched(single=False) as found:
            result = call(theta, data)
        assert found == Counter()
    assert result[1].shape == theta.shape and result[1].device.type == "meta"


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (lambda x: x * x.sum().item(), "read: _local_scalar_dense"),
        (lambda x: x if x.sum() > 0 else -x, "read: _local_scalar_dense"),
        (lambda x: x[x > 0], "read: index"),
        (lambda x: x * torch.tensor([1.0, 2.0]), "constant from the host"),
        (lambda x: x * torch.ones(2, dtype=torch.float64), "float64: ones"),
    ],
)
def test_the_watch_sees(fault: Any, told: str) -> None:
    with watched(single=True) as found:
        fault(torch.ones(2))
    assert found[told]


def test_the_watch_sees_what_comes_from_the_host() -> None:
    constant = torch.from_numpy(np.ones(2))
    with watched(single=False) as found:
        torch.ones(2, device="meta") * constant.to("meta")
    assert found == {"from the host: _to_copy": 1}
