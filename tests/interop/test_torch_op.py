"""The PyTorch side of an operation, on a route that needs no Julia: each transform against PyTorch's own."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from diffprog.interop.wire import What
from tests.interop.numpy_route import NumpyRoute

torch = pytest.importorskip("torch")
on_torch = pytest.importorskip("diffprog.interop.on_torch")
# PyTorch's own forward mode asks for it.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")


@pytest.fixture
def route() -> NumpyRoute:
    return NumpyRoute()


@pytest.fixture
def op(route: NumpyRoute) -> Any:
    return on_torch.TorchOp(route.load())


def own(x: Any, w: Any) -> Any:
    """The same function, differentiated by PyTorch."""
    return torch.sin(x) * w, (x * w).sum()


def inputs(dtype: Any = torch.float64, *, grad: bool = False) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(3, dtype=dtype, generator=generator) for _ in range(2))
    return x.requires_grad_(grad), w.requires_grad_(grad)


def loss(f: Callable[..., Any]) -> Callable[..., Any]:
    def total(x: Any, w: Any) -> Any:
        y, s = f(x, w)
        return (y.abs() ** 2).sum() * (s * s.conj()).real

    return total


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_gradcheck_of_first_and_second_order(op: Any, dtype: Any) -> None:
    x, w = inputs(dtype, grad=True)
    assert torch.autograd.gradcheck(op, (x, w), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(op, (x, w), check_fwd_over_rev=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128])
def test_gradient_in_every_dtype(op: Any, dtype: Any) -> None:
    x, w = inputs(dtype, grad=True)
    found = torch.autograd.grad(loss(op)(x, w), (x, w))
    expected = torch.autograd.grad(loss(own)(x, w), (x, w))
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == dtype
        torch.testing.assert_close(one, other)


TRANSFORMS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "grad": lambda f, x, w: torch.func.grad(loss(f))(x, w),
    "grad_and_value": lambda f, x, w: torch.func.grad_and_value(loss(f), (0, 1))(x, w),
    "vjp": lambda f, x, w: torch.func.vjp(f, x, w)[1]((w, x.sum())),
    "vjp with cotangents of another dtype": lambda f, x, w: torch.func.vjp(f, x, w)[1]((x.float(), x.float().sum())),
    "jvp": lambda f, x, w: torch.func.jvp(f, (x, w), (w, x)),
    "jvp of one argument": lambda f, x, w: torch.func.jvp(lambda x: f(x, w), (x,), (w,)),
    "vmap": lambda f, x, w: torch.func.vmap(f, (0, None))(torch.stack([x, 2 * x]), w),
    "vmap by other dimensions": lambda f, x, w: torch.func.vmap(f, (1, None), (1, 0))(torch.stack([x, 2 * x], 1), w),
    "vmap in chunks": lambda f, x, w: torch.func.vmap(f, (0, None), chunk_size=1)(torch.stack([x, 2 * x]), w),
    "vmap of grad": lambda f, x, w: torch.func.vmap(torch.func.grad(loss(f)), (0, None))(torch.stack([x, 2 * x]), w),
    "vmap of vmap of jacrev": lambda f, x, w: torch.func.vmap(
        torch.func.vmap(torch.func.jacrev(lambda x, w: f(x, w)[0]), (0, None)), (None, 0)
    )(torch.stack([x, 2 * x]), torch.stack([w, -w])),
    "jacrev of vmap": lambda f, x, w: torch.func.jacrev(lambda x: torch.func.vmap(f, (0, None))(x, w))(
        torch.stack([x, 2 * x])
    ),
    "jvp of vmap": lambda f, x, w: torch.func.jvp(
        lambda x: torch.func.vmap(f, (0, None))(x, w), (torch.stack([x, 2 * x]),), (torch.stack([w, x]),)
    ),
    "jacrev": lambda f, x, w: torch.func.jacrev(lambda x: f(x, w), chunk_size=1)(x),
    "jacfwd": lambda f, x, w: torch.func.jacfwd(lambda x: f(x, w), randomness="same")(x),
    "forward over reverse": lambda f, x, w: torch.func.hessian(loss(f), (0, 1))(x, w),
    "reverse over reverse": lambda f, x, w: torch.func.jacrev(torch.func.grad(loss(f)))(x, w),
    "reverse over forward": lambda f, x, w: torch.func.grad(
        lambda x: torch.func.jvp(lambda x: loss(f)(x, w), (x,), (w,))[1]
    )(x),
    "functional.jacobian": lambda f, x, w: torch.autograd.functional.jacobian(f, (x, w)),
    "functional.hessian": lambda f, x, w: torch.autograd.functional.hessian(loss(f), (x, w)),
    "functional.vjp": lambda f, x, w: torch.autograd.functional.vjp(f, (x, w), (w, x.sum())),
    "functional.jvp": lambda f, x, w: torch.autograd.functional.jvp(f, (x, w), (w, x)),
    "functional.vhp": lambda f, x, w: torch.autograd.functional.vhp(loss(f), (x, w), (w, x)),
    "strided, expanded and conjugated": lambda f, x, w: (
        f(torch.arange(6, dtype=x.dtype)[::2], w[:1].expand(3)),
        f(torch.complex(x, w).conj(), torch.complex(w, x).conj().imag),
    ),
    "inference mode": lambda f, x, w: torch.inference_mode()(f)(x, w),
    "autocast": lambda f, x, w: torch.autocast("cpu", dtype=torch.bfloat16)(f)(x, w),
    "jit.trace": lambda f, x, w: torch.jit.trace(lambda x, w: f(x, w)[0], (x, w))(2 * x, w),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(op: Any, name: str) -> None:
    x, w = inputs()
    torch.testing.assert_close(TRANSFORMS[name](op, x, w), TRANSFORMS[name](own, x, w))


def checkpointed(f: Callable[..., Any], *, use_reentrant: bool) -> Callable[..., Any]:
    return lambda x, w: torch.utils.checkpoint.checkpoint(f, x, w, use_reentrant=use_reentrant)


def with_hooks(f: Callable[..., Any], x: Any, w: Any) -> Any:
    def pack(tensor: Any) -> Any:
        return tensor.detach().numpy().copy()

    with torch.autograd.graph.saved_tensors_hooks(pack, torch.from_numpy):
        return torch.autograd.grad(loss(f)(x, w), x)


def on_the_host(f: Callable[..., Any], x: Any, w: Any) -> Any:
    with torch.autograd.graph.save_on_cpu():
        return torch.autograd.grad(loss(f)(x, w), (x, w))


def with_mutation(f: Callable[..., Any], x: Any, w: Any) -> Any:
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        return torch.autograd.grad(loss(f)(x, w), (x, w))


def with_anomaly_detection(f: Callable[..., Any], x: Any, w: Any) -> Any:
    with torch.autograd.set_detect_anomaly(True):
        return torch.autograd.grad(loss(f)(x, w), (x, w))


def with_duals(f: Callable[..., Any], x: Any, w: Any) -> Any:
    with torch.autograd.forward_ad.dual_level():
        found = f(torch.autograd.forward_ad.make_dual(x.detach(), w.detach()), w.detach())
        return [torch.autograd.forward_ad.unpack_dual(one).tangent for one in found]


def with_a_hook(f: Callable[..., Any], x: Any, w: Any) -> Any:
    y, s = f(x, w)
    y.register_hook(lambda bar: 2 * bar)
    return torch.autograd.grad(y.sum() + s, (x, w))


def by_the_edge(f: Callable[..., Any], x: Any, w: Any) -> Any:
    y, _ = f(x, w)
    return torch.autograd.grad(torch.autograd.graph.get_gradient_edge(y), x, torch.ones_like(y))


def twice(f: Callable[..., Any], x: Any, w: Any) -> Any:
    (first,) = torch.autograd.grad(checkpointed(loss(f), use_reentrant=False)(x, w), x, create_graph=True)
    return torch.autograd.grad(first.sum(), (x, w))


GRAPHS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "checkpoint": lambda f, x, w: torch.autograd.grad(checkpointed(loss(f), use_reentrant=False)(x, w), (x, w)),
    "checkpoint of the operation alone": lambda f, x, w: torch.autograd.grad(
        loss(checkpointed(f, use_reentrant=False))(x, w), (x, w)
    ),
    "checkpoint, and again": twice,
    "save_on_cpu": on_the_host,
    "saved_tensors_hooks": with_hooks,
    "allow_mutation_on_saved_tensors": with_mutation,
    "anomaly detection": with_anomaly_detection,
    "forward_ad": with_duals,
    "a hook": with_a_hook,
    "a gradient edge": by_the_edge,
    "of one result": lambda f, x, w: torch.autograd.grad(f(x, w)[1], (x, w), materialize_grads=True),
    "cotangent of another dtype": lambda f, x, w: torch.autograd.grad(f(x, w)[0], x, torch.ones(3)),
    "nothing in it": lambda f, x, w: torch.autograd.grad(loss(f)(x[:0], w[:0]), (x, w)),
}


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("name", GRAPHS)
def test_graphs(op: Any, name: str) -> None:
    x, w = inputs(grad=True)
    torch.testing.assert_close(GRAPHS[name](op, x, w), GRAPHS[name](own, x, w))


def test_a_reentrant_checkpoint(op: Any) -> None:
    x, w = inputs(grad=True)
    checkpointed(loss(op), use_reentrant=True)(x, w).backward()
    torch.testing.assert_close((x.grad, w.grad), torch.autograd.grad(loss(own)(x, w), (x, w)))


class Module(torch.nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self, op: Any, w: Any) -> None:
        super().__init__()
        self.op, self.w = op, torch.nn.Parameter(w)

    def forward(self, x: Any) -> Any:
        return self.op(x, self.w)[0]


def saved(module: Any) -> Any:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("again", [copy.deepcopy, copy.copy, saved, lambda one: pickle.loads(pickle.dumps(one))])
def test_modules_are_copied_and_saved(op: Any, again: Callable[[Any], Any]) -> None:
    """A route with a lock in it: ``test_copies.py``."""
    x, w = inputs()
    module = again(Module(op, w))
    module(x).sum().backward()
    torch.testing.assert_close(module.w.grad, torch.sin(x))
    called = torch.func.functional_call(module, {"w": 2 * w}, (x,))
    torch.testing.assert_close(called, 2 * w * torch.sin(x))
    members = [Module(op, w), Module(op, -w)]
    parameters, _ = torch.func.stack_module_state(members)
    found = torch.func.vmap(lambda own: torch.func.functional_call(members[0], own, (x,)))(parameters)
    torch.testing.assert_close(found, torch.stack([w, -w]) * torch.sin(x))


def make_fx(f: Callable[..., Any], x: Any, w: Any) -> Any:
    from torch.fx.experimental import proxy_tensor

    return proxy_tensor.make_fx(f)(x, w)


def make_fx_of_a_pullback(f: Callable[..., Any], x: Any, w: Any) -> Any:
    (y, _), pull = torch.func.vjp(f, x, w)
    return make_fx(lambda bar, s: pull((bar, s)), y, x.sum())


def fake(f: Callable[..., Any], x: Any, w: Any) -> Any:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode() as mode:
        return f(mode.from_tensor(x), mode.from_tensor(w))


def batched(f: Callable[..., Any], x: Any, w: Any) -> Any:
    x.requires_grad_()
    return torch.autograd.grad(f(x, w)[0], x, torch.eye(3, dtype=x.dtype), is_grads_batched=True)


REFUSED: dict[str, tuple[Callable[[Any, Any, Any], Any], str]] = {
    "make_fx": (make_fx, "cannot be traced"),
    "make_fx of a pullback": (make_fx_of_a_pullback, "cannot be traced"),
    "linearize": (lambda f, x, w: torch.func.linearize(f, x, w), "cannot be traced"),
    "export": (lambda f, x, w: torch.export.export(Module(f, w), (x,)), "cannot be (exported|traced)|not FakeTensor"),
    "fake tensors": (fake, "not FakeTensor"),
    "symbolic_trace": (lambda f, x, w: torch.fx.symbolic_trace(Module(f, w)), "takes tensors, not Proxy"),
    "functionalize": (lambda f, x, w: torch.func.functionalize(f)(x, w), "NYI|cannot"),
    "jit.script": (lambda f, x, w: torch.jit.script(Module(f, w)), ""),
    "compile as one graph": (lambda f, x, w: torch.compile(f, backend="eager", fullgraph=True)(x, w), "disable"),
    "is_grads_batched": (batched, "torch.func.vmap alone"),
    "functional.jacobian of batches": (
        lambda f, x, w: torch.autograd.functional.jacobian(f, (x, w), vectorize=True),
        "torch.func.vmap alone",
    ),
    "functional.hvp": (lambda f, x, w: torch.autograd.functional.hvp(loss(f), (x, w), (w, x)), "take its vhp"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_what_would_lose_the_function_is_refused(op: Any, name: str) -> None:
    call, told = REFUSED[name]
    with pytest.raises(Exception, match=told):
        call(op, *inputs())


def test_what_julia_has_no_rule_for_is_refused(op: Any) -> None:
    x, w = inputs(grad=True)
    (first,) = torch.autograd.grad(loss(op)(x, w), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="no third derivatives"):
        second.sum().backward()
    with pytest.raises(NotImplementedError, match="forward over reverse"):
        torch.func.jacfwd(torch.func.jacfwd(lambda x: op(x, w.detach())[0]))(x.detach())


def test_the_pullback_is_kept_used_again_and_freed_with_the_graph(op: Any, route: NumpyRoute) -> None:
    x, w = inputs(grad=True)
    total = loss(op)(x, w)
    total.backward(retain_graph=True)
    first = x.grad.clone()
    total.backward()
    torch.testing.assert_close(x.grad, 2 * first)
    assert route.asked.count(What.FORWARD) == 1
    assert route.held() == 1
    del total
    assert route.held() == 0
    for _ in range(100):
        loss(op)(x, w).backward()
    assert route.held() <= 1


def test_nothing_is_kept_without_a_graph(op: Any, route: NumpyRoute) -> None:
    op(*inputs())
    with torch.no_grad():
        op(*inputs(grad=True))
    assert What.FORWARD not in route.asked


@pytest.mark.parametrize("what", ["input", "result"])
def test_a_change_in_place_is_noticed(op: Any, what: str) -> None:
    x, w = inputs(grad=True)
    y, s = op(x, w)
    with torch.no_grad():
        (x if what == "input" else y).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        s.backward()


def test_one_result_alone(op: Any) -> None:
    x, w = inputs(grad=True)
    torch.testing.assert_close(torch.autograd.grad(op(x, w)[1], x)[0], w.detach())


def test_compiled_code_calls_it(op: Any) -> None:
    x, w = inputs()
    compiled = torch.compile(lambda x, w: op(x, w)[0].sum() * 2, backend="eager")
    torch.testing.assert_close(compiled(x, w), own(x, w)[0].sum() * 2)


@pytest.mark.parametrize(
    ("argument", "error", "message"),
    [
        ([1.0, 2.0, 3.0], TypeError, "takes tensors, not list"),
        (torch.ones(3, dtype=torch.bfloat16), TypeError, "bfloat16 cannot cross"),
        (torch.ones(3, device="meta"), ValueError, "not of meta"),
        (torch.ones(3).to_sparse(), ValueError, "dense tensors"),
    ],
)
def test_what_cannot_cross_is_told(op: Any, argument: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        op(argument, torch.ones(3))
