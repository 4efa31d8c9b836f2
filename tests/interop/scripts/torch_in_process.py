"""Julia in the main thread of a process that has torch, too; run by test_in_process.py. Ends with the word "done"."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import torch

from diffprog.interop import BridgeError, JuliaError, JuliaFunction, route, torch_op


def refused(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    try:
        call()
    except error as told:
        assert text in str(told), told
    else:
        raise AssertionError(f"not refused: {text}")


op = torch_op("(x, w) -> (sin.(x) .* w, sum(x .* w))", route="in_process")
by = route("in_process")
x, w = (torch.randn(3, dtype=torch.float64, requires_grad=True) for _ in range(2))
assert torch.autograd.gradcheck(op, (x, w), check_forward_ad=True)
assert torch.autograd.gradgradcheck(op, (x, w), check_fwd_over_rev=True)
z = torch.randn(3, dtype=torch.complex128, requires_grad=True)
assert torch.autograd.gradcheck(torch_op("z -> abs2.(z) .* z", route="in_process"), (z,))

# No copy on either way: Julia returns addresses, and changes our memory where it is.
there = by.load(JuliaFunction("x -> reinterpret(Float64, [Int(pointer(x))])"))
big = torch.randn(100_000, dtype=torch.float64)
assert there.primal([big.numpy()])[0].view(np.int64)[0] == big.data_ptr()
lent = by.load(JuliaFunction("x -> (global kept = 2x)"))
seen = lent.primal([big.numpy()])[0]
where = by.load(JuliaFunction("x -> [Int(UInt(x[1]))]"))
changed = seen.__array_interface__["data"][0]
assert by.held() == 1, by.held()
np.testing.assert_allclose(seen, 2 * big.numpy())
del seen
assert by.held() == 0
assert by.copies == 0, by.copies

square = torch_op("x -> x .^ 2", route="in_process")
a = torch.randn(5_000, dtype=torch.float64, requires_grad=True)


def calls(count: int) -> int:
    for _ in range(count):
        a.grad = None
        square(a).sum().backward()
    torch.testing.assert_close(a.grad, 2 * a.detach())
    return int(psutil.Process().memory_info().rss)


before = calls(2_000)
after = calls(8_000)
assert by.held() <= 2, by.held()
assert after - before < 100e6, (before, after)  # kept, they would be 640 MB

# Of what is not contiguous a copy is made, which is there for as long as the pullback.
columns = torch.randn(300, 200, dtype=torch.float64).T.requires_grad_()
counted = by.copies
squares = square(columns)
assert by.copies == counted + 1, (counted, by.copies)
others = [np.full((200, 300), 7.0) for _ in range(20)]  # would lie where a copy that was let go had been
squares.sum().backward()
assert columns.grad is not None
torch.testing.assert_close(columns.grad, 2 * columns.detach(), rtol=0, atol=0)

refused(lambda: torch_op("x -> sqrt(x[1])", route="in_process")(-torch.ones(1)), JuliaError, "DomainError")
python = torch_op('using PythonCall; x -> (PythonCall.pyimport("math").sqrt(-1.0); x)', route="in_process")
refused(lambda: python(torch.ones(1)), JuliaError, "ValueError")
torch.testing.assert_close(square(torch.full((2,), 3.0)), torch.full((2,), 9.0))

# Another thread is refused, and so is a fork.
told: list[str] = []


def elsewhere() -> None:
    try:
        square(torch.ones(1))
    except BridgeError as error:
        told.append(str(error))


thread = threading.Thread(target=elsewhere)
thread.start()
thread.join()
assert "route='worker'" in told[0], told
child = os.fork()
if child == 0:
    try:
        square(torch.ones(1))
    except BridgeError as error:
        os._exit(7 if "fork" in str(error) else 1)
    os._exit(2)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
refused(lambda: route("in_process", thread="own"), BridgeError, "thread='own'")
print("done")
sys.stdout.flush()
