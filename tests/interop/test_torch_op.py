"""The PyTorch side of an operation, on a route that needs no Julia: each transform against PyTorch's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from suite.interop.wire import What
from tests.interop.numpy_route import NumpyRoute

torch = pytest.importorskip("torch")
on_torch = pytest.importorskip("suite.interop.on_torch")
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
    "vjp": lambda f, x, w: torch.func.vjp(f, x, w)[1]((w, x.sum())),
    "jvp": lambda f, x, w: torch.func.jvp(f, (x, w), (w, x)),
    "jvp of one argument": lambda f, x, w: torch.func.jvp(lambda x: f(x, w), (x,), (w,)),
    "vmap": lambda f, x, w: torch.func.vmap(f, (0, None))(torch.stack([x, 2 * x]), w),
    "vmap of grad": lambda f, x, w: torch.func.vmap(torch.func.grad(loss(f)), (0, None))(torch.stack([x, 2 * x]), w),
    "jacrev": lambda f, x, w: torch.func.jacrev(lambda x: f(x, w))(x),
    "jacfwd": lambda f, x, w: torch.func.jacfwd(lambda x: f(x, w))(x),
    "forward over reverse": lambda f, x, w: torch.func.hessian(loss(f))(x, w),
    "reverse over reverse": lambda f, x, w: torch.func.jacrev(torch.func.grad(loss(f)))(x, w),
    "reverse over forward": lambda f, x, w: torch.func.grad(
        lambda x: torch.func.jvp(lambda x: loss(f)(x, w), (x,), (w,))[1]
    )(x),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(op: Any, name: str) -> None:
    x, w = inputs()
    torch.testing.assert_close(TRANSFORMS[name](op, x, w), TRANSFORMS[name](own, x, w))


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
