"""The engine ``expert``: the loss and gradient of ``eager`` and the reference, in fewer kernels, on memory kept."""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from diffprog import tasks
from diffprog.backends import get
from diffprog.backends.base import Ask, Prepared
from diffprog.errors import Unsupported
from diffprog.spec import Arrays, Expert, Functions

torch = pytest.importorskip("torch")
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from diffprog.tasks.flow import expert_torch as flow  # noqa: E402
from diffprog.tasks.qcbm import expert_adversarial as game  # noqa: E402
from diffprog.tasks.qcbm import expert_torch as qcbm  # noqa: E402
from tests.tasks.test_round_trips import seen, watched  # noqa: E402

CASES = [(task, variant) for task in ("flow", "qcbm") for variant in tasks.get(task).variants]
LARGEST = {"flow": 5200, "qcbm": 420}
"""Operations of a gradient of size large at most. PyTorch's autograd takes 14,115 and 559."""


def drawn(task: str, variant: str, size: str = "tiny", seed: int = 0) -> tuple[Any, Arrays]:
    config = tasks.get(task).configure(variant, size)
    return config, tasks.get(task).draw(config, seed)


def functions_of(task: str, config: Any) -> Functions:
    return tasks.functions(task, "torch", config, tasks.get(task).methods[0])


def expert_of(task: str, config: Any) -> Expert:
    found = functions_of(task, config).expert
    assert found is not None
    return found


def placed(inputs: Arrays, precision: str = "float64", device: str = "cpu") -> tuple[Any, dict[str, Any]]:
    """θ and the data."""
    kind = getattr(torch, precision)
    tensors = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
    data = {name: x.to(kind) if x.is_floating_point() else x for name, x in tensors.items()}
    return data.pop("params"), data


def distance(found: Any, expected: Any) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def off(task: str, variant: str, seed: int = 0, size: str = "tiny") -> tuple[float, float, float]:
    """Relative errors against NumPy's reference: of the gradient, of its loss, of the value."""
    config, inputs = drawn(task, variant, size, seed)
    data = {name: array for name, array in inputs.items() if name != "params"}
    reference = tasks.functions(task, "numpy", config, tasks.get(task).methods[0])
    loss, expected = reference.gradient(inputs["params"], data)
    expert, arguments = expert_of(task, config), placed(inputs)
    found_loss, gradient = expert.gradient(*arguments)
    by_gradient, by_value = (abs(float(one) / float(loss) - 1) for one in (found_loss, expert.value(*arguments)))
    return distance(gradient.numpy(), expected), by_gradient, by_value


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("task", "variant"), CASES)
def test_it_is_the_reference(task: str, variant: str, seed: int) -> None:
    assert max(off(task, variant, seed)) <= tasks.get(task).tolerance / 10


@pytest.mark.parametrize(("task", "variant"), CASES)
def test_it_is_the_reference_with_more_groups_and_wider_layers(task: str, variant: str) -> None:
    assert max(off(task, variant, size="small")) <= tasks.get(task).tolerance / 10


@pytest.mark.parametrize("qubits", [5, 9, 11, 13, 16])
def test_groups_of_any_sizes(qubits: int) -> None:
    """One group, two of different sizes, three, four: each joins others in products of other shapes."""
    config = dataclasses.replace(tasks.get("qcbm").configure("gaussian", "tiny"), qubits=qubits, dense_kernel=False)
    theta, data = placed(tasks.get("qcbm").draw(config, 0))
    loss, expected = functions_of("qcbm", config).gradient(theta, data)
    found = expert_of("qcbm", config).gradient(theta, data)
    assert float(found[0]) == pytest.approx(float(loss), rel=1e-12)
    assert distance(found[1].numpy(), expected.numpy()) <= 1e-13


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("variant", tasks.get("flow").variants)
def test_few_steps_and_a_batch_of_one(variant: str, steps: int) -> None:
    config = dataclasses.replace(tasks.get("flow").configure(variant, "tiny"), steps=steps, batch=1)
    theta, data = placed(tasks.get("flow").draw(config, 0))
    found, expected = expert_of("flow", config), functions_of("flow", config).gradient(theta, data)
    assert distance(found.gradient(theta, data)[1].numpy(), expected[1].numpy()) <= 1e-13
    assert float(found.value(theta, data)) == pytest.approx(float(expected[0]), rel=1e-13)


@pytest.mark.parametrize(("task", "variant"), CASES)
def test_float32_loses_no_more_than_autograd(task: str, variant: str) -> None:
    """Over many steps, where a coefficient that is rounded the same way at each would grow."""
    config, inputs = drawn(task, variant, "small")
    functions = functions_of(task, config)
    assert functions.expert is not None
    truth = functions.gradient(*placed(inputs))[1].numpy()
    single = placed(inputs, "float32")
    found = functions.expert.gradient(*single)
    assert found[0].dtype == found[1].dtype == functions.expert.value(*single).dtype == torch.float32
    eager = distance(functions.gradient(*single)[1].numpy(), truth)
    # Twice, but for how a processor's BLAS rounds products; sums over all rows in one go were 14 times as far on some.
    assert distance(found[1].numpy(), truth) <= 4 * eager


# What is planted in the equations is seen by the test above: each of these must be off by far more than rounding.


def wrong_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "STAGES", (1, 2, 1, 2))


def wrong_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "STAGES", (1, 2, 2, 2))


def wrong_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    start = flow.Hidden.start_back

    def flipped(self: Any) -> None:
        start(self)
        self.turn = -self.turn

    monkeypatch.setattr(flow.Hidden, "start_back", flipped)


def forgotten_curvature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow.Hidden, "kappa", lambda self: self.total.sum(dim=0) * 0)


def wrong_slope(monkeypatch: pytest.MonkeyPatch) -> None:
    slope = flow.terminal_slope
    monkeypatch.setattr(flow, "terminal_slope", lambda *arguments: -slope(*arguments))


def late_row(monkeypatch: pytest.MonkeyPatch) -> None:
    rotate = qcbm.Rows.rotate

    def rotated(self: Any, matrices: Any, source: int, target: int, spare: int) -> None:
        rotate(self, matrices, source, target, spare)
        if source == 1 and target > source:  # on the way back alone
            self.each[target].neg_()

    monkeypatch.setattr(qcbm.Rows, "rotate", rotated)


def not_inverted(monkeypatch: pytest.MonkeyPatch) -> None:
    permute = qcbm.Rows.permute
    monkeypatch.setattr(
        qcbm.Rows, "permute", lambda self, source, gather, target: permute(self, source, torch.argsort(gather), target)
    )


def sure_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(game, "logsigmoid", lambda s: torch.nn.functional.logsigmoid(1.001 * s))


FAULTS: list[tuple[str, str, Callable[[pytest.MonkeyPatch], None]]] = [
    *(("flow", v, f) for v in ("density", "ising") for f in (wrong_stage, wrong_weight, wrong_sign)),
    *(("flow", variant, forgotten_curvature) for variant in ("density", "ring")),
    *(("flow", variant, wrong_slope) for variant in tasks.get("flow").variants),
    *(("qcbm", variant, late_row) for variant in tasks.get("qcbm").variants),
    ("qcbm", "gaussian", not_inverted),  # the others' CNOTs are their own inverse at this size
    ("qcbm", "adversarial", sure_of_itself),
]


@pytest.mark.parametrize(("task", "variant", "plant"), FAULTS)
def test_planted_errors_show(task: str, variant: str, plant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    assert max(off(task, variant)) > 1e-6


@pytest.mark.parametrize(("task", "variant"), CASES)
def test_results_are_memory_of_their_own(task: str, variant: str) -> None:
    """Kept memory shows in no result: not after other calls, at other parameters, nor while calls overlap."""
    config, inputs = drawn(task, variant)
    expert, (theta, data) = expert_of(task, config), placed(inputs)
    before = {name: x.clone() for name, x in data.items()}
    first = [expert.value(theta, data), *expert.gradient(theta, data)]
    copies = [x.clone() for x in first]
    other = theta * 0.9
    fresh = expert_of(task, config).gradient(other, data)
    assert torch.equal(expert.gradient(other, data)[1], fresh[1])
    first[2].fill_(torch.nan)  # a result is its owner's
    assert torch.equal(expert.gradient(theta, data)[1], copies[2])
    assert torch.equal(first[0], copies[0]) and torch.equal(first[1], copies[1])
    assert all(torch.equal(x, before[name]) for name, x in data.items())
    single = placed(inputs, "float32")
    assert expert.gradient(*single)[1].dtype == torch.float32  # what is kept is of another type

    found: dict[int, bool] = {}

    def work(index: int) -> None:
        found[index] = all(torch.equal(expert.gradient(theta, data)[1], copies[2]) for _ in range(5))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(4), True)


class Operations(TorchDispatchMode):  # type: ignore[misc]  # mypy takes torch for Any
    """Counts what may be a kernel: all but views."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = Counter[str]()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        schema = operation._schema
        view = any(one.alias_info is not None and not one.alias_info.is_write for one in schema.arguments)
        if not view:
            self.seen[schema.name.removeprefix("aten::")] += 1
        return operation(*args, **(kwargs or {}))


def counted(gradient: Any, theta: Any, data: Any) -> Counter[str]:
    gradient(theta, data)  # the first: tables are made once
    operations = Operations()
    with operations:
        gradient(theta, data)
    return operations.seen


def of_shapes_alone(task: str, variant: str, size: str) -> tuple[Any, Any, dict[str, Any]]:
    """Configuration, θ and data of a size on the device ``meta``: what it computes is what a GPU would be given."""
    config = tasks.get(task).configure(variant, size)
    kind = torch.float64
    if task == "flow":
        data = {"data": torch.empty(config.batch, config.dim, dtype=kind, device="meta")}
        data["inverse_coupling"] = torch.empty(config.dim, config.dim, dtype=kind, device="meta")
    else:
        whole = torch.empty(2**config.qubits, dtype=kind, device="meta")
        data = {"permutation": whole.to(torch.int64), "target": whole}
        if config.hidden:
            data["spins"] = torch.empty(2**config.qubits, config.qubits, dtype=kind, device="meta")
        else:
            data["sigmas"] = torch.empty(2 if config.kernel == "integer" else 4, dtype=kind, device="meta")
    return config, torch.empty(tasks.get(task).layout(config).size, dtype=kind, device="meta"), data


@pytest.mark.parametrize(("task", "variant"), CASES)
def test_kernels_of_a_large_gradient(task: str, variant: str) -> None:
    config, theta, data = of_shapes_alone(task, variant, "large")
    kernels = counted(expert_of(task, config).gradient, theta, data)
    assert 0 < kernels.total() <= LARGEST[task], kernels.most_common()
    assert not any("index_add" in name or "index_put" in name for name in kernels)


@pytest.mark.parametrize("size", ["tiny", "small", "medium", "large"])
@pytest.mark.parametrize(("task", "variant"), CASES)
def test_fewer_kernels_than_autograd_at_every_size(task: str, variant: str, size: str) -> None:
    config, theta, data = of_shapes_alone(task, variant, size)
    if task == "flow":
        config = dataclasses.replace(config, steps=4)  # each step is the same
    functions = functions_of(task, config)
    assert functions.expert is not None
    expert, eager = (counted(one, theta, data).total() for one in (functions.expert.gradient, functions.gradient))
    assert expert < 0.65 * eager


@pytest.mark.parametrize(("task", "variant"), CASES)
def test_the_device_waits_for_no_host(task: str, variant: str) -> None:
    """Nothing is read back or brought, and nothing of a float32 cell is float64: as in ``test_round_trips``."""
    method = tasks.get(task).methods[0]
    assert seen(task, variant, method, Ask("gradient", "expert")) == {"value": Counter(), "derivative": Counter()}
    config, theta, data = of_shapes_alone(task, variant, "tiny")
    expert = expert_of(task, config)
    for call in (expert.value, expert.gradient):
        call(theta, data)
        with watched(single=False) as found:
            result = call(theta, data)
        assert found == Counter()
    assert result[1].shape == theta.shape and result[1].device.type == "meta"


def prepared(task: str, operator: str, method: str = "", direction: Any = None) -> Prepared:
    config, inputs = drawn(task, tasks.get(task).variants[0])
    backend = get("torch")
    backend.open("float64", "cpu", 1)
    ask = Ask(operator, "expert", np.ones(inputs["params"].size) if direction is None else direction)
    return backend.prepare(task, config, method or tasks.get(task).methods[0], inputs, ask)


@pytest.mark.parametrize("task", ["flow", "qcbm"])
def test_it_is_on_autograd_s_tape(task: str) -> None:
    """A user's own loss with it in: the chain rule goes on from there; a second derivative is refused, not wrong."""
    from diffprog.backends.torch_engines import ByHand

    config, inputs = drawn(task, tasks.get(task).variants[0])
    (theta, data), expert = placed(inputs), expert_of(task, config)
    leaf = theta.clone().requires_grad_()
    (3 * ByHand.apply(leaf, data, expert) ** 2).backward()
    loss, gradient = expert.gradient(theta, data)
    torch.testing.assert_close(leaf.grad, 6 * loss * gradient, rtol=1e-13, atol=0)
    for power in (1, 2):
        mixed = ByHand.apply(leaf, data, expert) ** power + leaf.square().sum()
        (once,) = torch.autograd.grad(mixed, leaf, create_graph=True)
        with pytest.raises(RuntimeError, match="not differentiated again"):
            torch.autograd.grad(once.sum(), leaf, allow_unused=True)


@pytest.mark.parametrize("operator", ["jvp", "hvp"])
def test_what_it_does_not_do_is_refused(operator: str) -> None:
    with pytest.raises(Unsupported, match="not differentiated again"):
        prepared("flow", operator)


@pytest.mark.parametrize(("task", "method"), [("trg", ""), ("eigensolver", ""), ("qcbm", "adjoint")])
def test_so_is_what_has_no_such_form(task: str, method: str) -> None:
    with pytest.raises(Unsupported, match="no expert form"):
        prepared(task, "gradient", method)
