"""Every mistake that the file of a backend can hold: what is said of it, with the file and the line."""

from __future__ import annotations

import re

import pytest

from tests.models.conftest import JAX, NUMPY, TORCH, Folder, Own

SUM = '(data["X"] @ params["W"] + params["b"]).sum()'


def torch_of(body: str) -> str:
    """A file whose loss begins on line 5."""
    return f"import numpy as np\nimport torch\n\n\ndef loss(params, data):\n    {body}\n"


def jax_of(body: str) -> str:
    """The same."""
    return f"import jax.numpy as jnp\nimport numpy as np\n\n\ndef loss(params, data):\n    {body}\n"


def numpy_of(body: str) -> str:
    """NumPy's loss with a line before its own."""
    return NUMPY.replace("    Z = ", f"    {body}\n    Z = ")


def shown(text: str, body: str, arguments: str = "params, data") -> str:
    return f"{text}\n\ndef outputs({arguments}):\n    {body}\n"


def by_hand(body: str) -> str:
    return f"{NUMPY}\n\ndef gradient(params, data):\n    {body}\n"


CUT = "loss returns a float; .*cuts it off from its parameters"
TRACED = r"on_jax.py:6: .*a traced value has no number: no float\(\), .item\(\) or `if` on it; use jnp.where"
MISTAKES = {
    "torch": [
        ("def loss(params, data:\n    pass\n", r"on_torch.py:1: '\(' was never closed"),
        ("import torch\n", r"on_torch.py: the file has no function loss; write `def loss\(params, data\):`"),
        ("def loss(params): ...\n", "on_torch.py: loss must take two arguments, params and data"),
        (torch_of('return data["X"] @ params["W"]'), r"on_torch.py: loss returns an array of shape \(5, 2\); it must"),
        (torch_of(f"return {SUM} + 0j"), "on_torch.py: loss returns a complex number; take its real part"),
        (torch_of(f"return torch.log(-({SUM} ** 2))"), "on_torch.py: loss is nan at these inputs; it must be finite"),
        (torch_of(f"return {SUM}.float()"), "loss returns float32 where parameters and data are float64"),
        (torch_of("return None"), "on_torch.py: loss returns a NoneType; it must return a tensor with one number$"),
        (torch_of("params['b'] *= 2; return params['b'].sum()"), "on_torch.py:6: .*changed in place: work on a copy"),
        (torch_of(f"data['X'] -= 1; return {SUM}"), "on_torch.py: loss changes its input 'X' in place; work on a copy"),
        (torch_of(f"return {SUM}.item()"), CUT),
        (torch_of(f"return np.sum({SUM}.detach().numpy())"), CUT.replace("float", "float64")),
        (torch_of(f"return {SUM}.detach()"), "loss does not depend on its parameters as autograd sees it"),
        (
            torch_of("return np.sin(params['b']).sum()"),
            "on_torch.py:6: .*NumPy cannot be used on parameters: use torch",
        ),
        ("import no_such\n" + TORCH, "on_torch.py:1: there is no module no_such: .*python -m pip install no_such"),
        (torch_of("return params['V'].sum()"), "on_torch.py:6: KeyError: 'V'"),
        (torch_of("import sys; sys.exit()"), "on_torch.py:6: it ends Python"),
        (torch_of("return (data['X'] @ params['W'].T).sum()"), "on_torch.py:6: RuntimeError: mat1 and mat2 shapes"),
        (torch_of("return params['b'] @ torch.ones(2)"), "on_torch.py:6: .*pass dtype=params"),
        (shown(TORCH, "return [1]"), "on_torch.py: outputs must return a dict of names and arrays"),
        (
            shown(TORCH, "return {'p': 'q'}"),
            "on_torch.py: outputs gives a str for 'p'; it must be an array or a number",
        ),
        (shown(TORCH, "return {'p': p['b'] + 0j}", "p, d"), "on_torch.py: the output 'p' is complex; give its real"),
        (shown(TORCH, "return {'gradient': params['b']}"), "an output has the name 'gradient', which is the answer's"),
    ],
    "jax": [
        ("x = 1\nx +* 2\n", "on_jax.py:2: invalid syntax"),
        ("loss = 3.0\n", "on_jax.py: the file has something else than a function called loss"),
        ("def loss(params, data, scale): ...\n", "on_jax.py: loss must take two arguments, params and data"),
        (jax_of("return params['b'][:1]"), r"on_jax.py: loss returns an array of shape \(1,\); it must return one num"),
        (jax_of(f"return {SUM} + 0j"), "on_jax.py: loss returns a complex number; take its real part"),
        (jax_of(f"return {SUM} / 0"), "on_jax.py: loss is -?inf at these inputs; it must be finite"),
        (jax_of(f"return {SUM}.astype('float32')"), "loss returns float32 where parameters and data are float64"),
        (jax_of(f"return {SUM}.astype(int)"), "loss returns int64, which cannot be differentiated"),
        (jax_of(f"return {SUM}, 1.0"), "on_jax.py: loss returns a tuple; it must return one number"),
        (jax_of("return None"), "on_jax.py: loss returns a NoneType; it must return one number"),
        (jax_of(f"data['X'][0] = 1; return {SUM}"), r"on_jax.py:6: .*JAX's arrays cannot be changed: use x.at\[i\]"),
        (jax_of(f"return {SUM}.item()"), TRACED),
        (jax_of(f"return float({SUM})"), TRACED),
        (jax_of(f"return 1.0 if {SUM} > 0 else 2.0"), TRACED),
        (jax_of("return np.sin(params['b']).sum()"), "on_jax.py:6: .*NumPy cannot be used on parameters or data"),
        (jax_of("import no.such; return 1.0"), "on_jax.py:6: there is no module no: .*python -m pip install no"),
        (jax_of("return (data['X'] @ params['b']).sum()"), "on_jax.py:6: .*dot_general requires"),
        (shown(JAX, "return {'p': data['Q']}"), "on_jax.py:10: KeyError: 'Q'"),
        (shown(JAX, "return {'p': 'q'}"), "on_jax.py: outputs gives a str for 'p'; it must be an array or a number"),
    ],
    "numpy": [
        ("1/0\n" + NUMPY, "on_numpy.py:1: ZeroDivisionError: division by zero"),
        (NUMPY.replace(".sum()", ""), r"on_numpy.py: loss returns an array of shape \(5,\)"),
        (NUMPY.replace("return (", "return 1j * ("), "on_numpy.py: loss returns a complex number"),
        (NUMPY.replace("return (", "return np.inf * ("), "on_numpy.py: loss is inf at these inputs; it must be finite"),
        (
            NUMPY + "\n\ndef loss(params, data): ...\n",
            "on_numpy.py: loss returns a NoneType; it must return one number",
        ),
        (numpy_of("params['b'] += 1"), "on_numpy.py: loss changes its input 'b' in place; work on a copy"),
        (numpy_of("data['y'][0] = 7"), "on_numpy.py: loss changes its input 'y' in place; work on a copy"),
        (by_hand("return {}"), "on_numpy.py: gradient must return the loss and a dict of gradients"),
        (by_hand("return 1.0, {'W': params['W'][0]}"), r"gradient of 'W' has shape \(2,\) where W has \(3, 2\)"),
        (by_hand("return 1.0, {'W': params['W']}"), "on_numpy.py: gradient gives no gradient for the parameter 'b'"),
        (by_hand("return params['V']"), "on_numpy.py:10: KeyError: 'V'"),
    ],
}


@pytest.mark.parametrize(
    ("backend", "text", "told"),
    [
        pytest.param(backend, *mistake, id=f"{backend}{number}")
        for backend, mistakes in MISTAKES.items()
        for number, mistake in enumerate(mistakes)
    ],
)
def test_a_mistake_costs_its_own_cell_and_is_told(folder: Folder, own: Own, backend: str, text: str, told: str) -> None:
    home = folder(**({"torch": TORCH} if backend == "numpy" else {}) | {backend: text})
    records = {record.backend: record for record in own(home)}
    if backend == "numpy":
        assert records["torch"].outcome == "ok", records["torch"].reason
    found = records[backend]
    assert re.search(told, found.reason), found.reason
    assert found.outcome == ("disagrees" if told.startswith("an output") else "error")
    assert "\n" not in found.reason
    assert "Traceback" not in found.reason
    if found.outcome == "error":
        assert found.reason.startswith(str(home))
