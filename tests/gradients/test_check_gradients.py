"""Functions given from Python: what agrees, what does not, and what is said of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diffprog import GradientMismatch, UsageError, check_gradients
from tests.gradients.conftest import arrays, by_hand, loss

jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")
torch = pytest.importorskip("torch")

ALL = {"numpy": loss(np), "torch": loss(torch), "jax": loss(jnp)}


@jax.custom_vjp
def turned(x: Any) -> Any:
    """The identity, whose cotangent has the wrong sign."""
    return x


turned.defvjp(lambda x: (x, None), lambda _, bar: (-bar,))


def wrong_in_jax(params: Any, data: Any) -> Any:
    return loss(jnp)(params | {"b": turned(params["b"])}, data)


def wrong_in_torch(params: Any, data: Any) -> Any:
    return loss(torch)(params | {"b": 2 * params["b"].detach() - params["b"]}, data)


def outcomes(result: Any) -> dict[str, str]:
    return {row.backend: row.outcome for row in result.rows}


def test_one_function_on_all_backends_agrees(given: dict[str, Any]) -> None:
    result = check_gradients(ALL, given["params"], given["data"], numpy_gradient=by_hand)
    assert result.ok
    assert bool(result)
    assert outcomes(result) == {"numpy": "ok", "torch": "ok", "jax": "ok"}
    assert [row.is_yardstick for row in result.rows] == [True, False, False]
    _, right = by_hand(arrays()[0], arrays()[1])
    for backend in ALL:
        assert result.gradients[backend].keys() == right.keys()
        for name in right:
            assert result.gradients[backend][name] == pytest.approx(right[name], rel=1e-12)
    assert result.errors.keys() == {"torch", "jax"}
    assert max(max(found.values()) for found in result.errors.values()) < 1e-14
    assert result.raise_for_status() is result


def test_the_gradients_are_those_of_many_differences_too(given: dict[str, Any]) -> None:
    """Not only the yardstick's word for it: by plain central differences, component by component."""
    result = check_gradients(jax=ALL["jax"], **given)
    params, data = given["params"], given["data"]
    for name, slope in result.gradients["jax"].items():
        for index in np.ndindex(slope.shape):
            h = np.zeros(slope.shape)
            h[index] = 1e-5
            up, down = (loss(np)(params | {name: params[name] + sign * h}, data) for sign in (1, -1))
            assert slope[index] == pytest.approx((up - down) / 2e-5, rel=1e-7, abs=1e-9)


def test_numpy_without_a_gradient_takes_part_by_its_value(given: dict[str, Any]) -> None:
    result = check_gradients(**ALL, **given)
    assert result.ok
    assert [(row.backend, row.operator) for row in result.rows] == [
        ("numpy", "value"), ("torch", "gradient"), ("jax", "gradient"),
    ]  # fmt: skip
    off = check_gradients(numpy=lambda p, d: loss(np)(p, d) + 1e-6, torch=ALL["torch"], **given)
    assert outcomes(off) == {"numpy": "disagrees", "torch": "ok"}
    assert "the value is off by" in off.rows[0].reason


@pytest.mark.parametrize("operator", ["gradient", "jvp", "hvp"])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_every_operator_agrees_in_each_precision(operator: str, precision: str, given: dict[str, Any]) -> None:
    result = check_gradients(
        torch=ALL["torch"], jax=ALL["jax"], operators=[operator], precision=precision, **given
    ).raise_for_status()
    for row in result.rows:
        assert row.agreement is not None
        assert all(found.dtype == precision for found in row.derivative.values())
        assert (row.agreement.finite_differences is None) == (precision == "float32")
        assert (row.agreement.identity is not None) == (operator == "jvp")


def test_a_sign_error_is_found_with_the_parameter_s_name(given: dict[str, Any]) -> None:
    result = check_gradients(torch=ALL["torch"], jax=wrong_in_jax, **given)
    assert outcomes(result) == {"torch": "ok", "jax": "disagrees"}
    errors = result.errors["jax"]
    assert errors["b"] == pytest.approx(2.0)
    assert max(errors["W"], errors["c"]) < 1e-14
    assert "b (2.00e+00) differ, W, c not" in result.rows[1].reason
    with pytest.raises(GradientMismatch, match=r"b by 2.0e\+00") as caught:
        result.raise_for_status()
    assert caught.value.result is result
    assert isinstance(caught.value, AssertionError)


def test_the_wrong_one_does_not_judge_because_it_comes_first(given: dict[str, Any]) -> None:
    result = check_gradients(torch=wrong_in_torch, jax=ALL["jax"], **given)
    assert outcomes(result) == {"torch": "disagrees", "jax": "ok"}
    assert result.rows[1].is_yardstick


def test_two_that_agree_but_not_with_finite_differences_disagree_both(given: dict[str, Any]) -> None:
    result = check_gradients(torch=wrong_in_torch, jax=wrong_in_jax, **given)
    assert outcomes(result) == {"torch": "disagrees", "jax": "disagrees"}
    for row in result.rows:
        assert "finite differences are off by" in row.reason
        assert "b (" in row.reason.rpartition("finite differences")[2]
    assert "torch and jax give the same gradient, which is not that of finite differences" in str(result)


def test_one_function_alone_is_held_against_finite_differences(given: dict[str, Any]) -> None:
    assert check_gradients(jax=ALL["jax"], **given).ok
    result = check_gradients(jax=wrong_in_jax, **given)
    assert outcomes(result) == {"jax": "disagrees"}
    assert "give the same" not in str(result)


def test_a_jvp_of_a_wrong_rule_breaks_the_adjoint_identity(given: dict[str, Any]) -> None:
    @jax.custom_jvp
    def doubled(x: Any) -> Any:
        return x

    doubled.defjvp(lambda primals, tangents: (primals[0], 2 * tangents[0]))
    result = check_gradients(jax=lambda p, d: loss(jnp)(p | {"b": doubled(p["b"])}, d), operators=["jvp"], **given)
    assert outcomes(result) == {"jax": "disagrees"}  # forward and reverse mode are wrong alike: differences tell
    assert "finite differences" in result.rows[0].reason
    torch_rule = check_gradients(torch=_broken_forward, operators=["gradient", "jvp"], **given)
    assert [row.outcome for row in torch_rule.rows] == ["ok", "disagrees"]
    assert "the adjoint identity is broken" in torch_rule.rows[1].reason


class _Halved(torch.autograd.Function):  # type: ignore[name-defined,misc]
    """The identity; its forward rule gives half of what it should."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Any) -> Any:
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, bar: Any) -> Any:
        return bar

    @staticmethod
    def jvp(ctx: Any, dot: Any) -> Any:
        return dot / 2


def _broken_forward(params: Any, data: Any) -> Any:
    return loss(torch)(params | {"b": _Halved.apply(params["b"])}, data)


def test_what_is_not_deterministic_is_said_to_be(given: dict[str, Any]) -> None:
    result = check_gradients(torch=lambda p, d: loss(torch)(p, d) + 1e-3 * torch.rand(()).double(), **given)
    assert outcomes(result) == {"torch": "disagrees"}
    assert result.rows[0].reason.startswith("not deterministic: two calls of loss")
    assert "give it random numbers as data" in result.rows[0].reason


def test_a_parameter_without_effect_is_named_and_no_error(given: dict[str, Any]) -> None:
    given["params"]["unused"] = np.ones(4)
    result = check_gradients(torch=ALL["torch"], jax=ALL["jax"], **given)
    assert result.ok
    assert result.gradients["torch"]["unused"] == pytest.approx(np.zeros(4))
    assert "the loss does not depend on unused" in str(result)


def test_float32_is_judged_by_the_float64_yardstick(given: dict[str, Any]) -> None:
    result = check_gradients(torch=ALL["torch"], jax=wrong_in_jax, precision="float32", **given)
    assert outcomes(result) == {"torch": "ok", "jax": "disagrees"}
    assert result.errors["torch"]["W"] > 1e-9  # rounded
    assert "judged by the float64 gradient of torch" in str(result)
    lost = check_gradients(jax=wrong_in_jax, precision="float32", **given)
    assert outcomes(lost) == {"jax": "error"}
    assert "there is nothing to compare with" in lost.rows[0].reason


def test_what_goes_through_float32_in_float64_is_seen(given: dict[str, Any]) -> None:
    def rounded(params: Any, data: Any) -> Any:
        return loss(jnp)({name: x.astype("float32").astype("float64") for name, x in params.items()}, data)

    result = check_gradients(torch=ALL["torch"], jax=rounded, **given)
    assert outcomes(result) == {"torch": "ok", "jax": "disagrees"}


def test_a_tolerance_of_one_s_own_decides(given: dict[str, Any]) -> None:
    def near(params: Any, data: Any) -> Any:
        return loss(jnp)(params, data) + 1e-8 * params["W"].sum()

    assert not check_gradients(torch=ALL["torch"], jax=near, **given).ok
    result = check_gradients(torch=ALL["torch"], jax=near, tolerance=1e-6, **given)
    assert result.ok
    assert result.rows[1].agreement is not None
    assert result.rows[1].agreement.tolerance == 1e-6


@pytest.mark.parametrize("engine", ["forward", "reverse"])
def test_engines_are_chosen_by_backend(engine: str, given: dict[str, Any]) -> None:
    result = check_gradients(torch=ALL["torch"], jax=ALL["jax"], engines={"jax": engine, "torch": "func"}, **given)
    assert result.ok
    assert {row.backend: row.engine for row in result.rows} == {"jax": engine, "torch": "func"}
    refused = check_gradients(torch=ALL["torch"], jax=ALL["jax"], engines={"torch": "expert"}, **given)
    assert outcomes(refused) == {"torch": "unsupported", "jax": "ok"}
    assert not refused.ok


def test_arrays_of_the_frameworks_are_taken(given: dict[str, Any]) -> None:
    params = {
        "W": torch.nn.Parameter(torch.tensor(given["params"]["W"])),
        "b": jnp.asarray(given["params"]["b"]),
        "c": given["params"]["c"],
    }
    assert check_gradients(torch=ALL["torch"], jax=ALL["jax"], params=params, data=given["data"], tolerance=1e-6).ok


class Layer(torch.nn.Module):  # type: ignore[name-defined,misc]
    """The loss as a module, with parameters in parts and a buffer in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)
        self.c = torch.nn.Parameter(torch.tensor(0.7))
        self.register_buffer("one", torch.ones(()))

    def forward(self, data: Any) -> Any:
        params = {"W": self.layer.weight.T, "b": self.layer.bias, "c": self.c * self.one}
        return loss(torch)(params, data)


def test_a_module_is_a_function_of_its_parameters(given: dict[str, Any]) -> None:
    torch.manual_seed(0)
    module = Layer()
    before = {name: x.clone() for name, x in module.state_dict().items()}

    def port(params: Any, data: Any) -> Any:
        named = {"W": params["layer_weight"].T, "b": params["layer_bias"], "c": params["c"]}
        return loss(jnp)(named, data)

    result = check_gradients(torch=module, jax=port, data=given["data"])
    assert result.ok, result
    assert result.shapes == {"c": (), "layer_weight": (2, 3), "layer_bias": (2,)}
    assert all(torch.equal(before[name], x) for name, x in module.state_dict().items())
    assert all(x.grad is None for x in module.parameters())


def test_settings_of_the_frameworks_stay_as_they_are(given: dict[str, Any]) -> None:
    jax.config.update("jax_enable_x64", False)
    try:
        state = torch.random.get_rng_state()
        before = (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(),
                  torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision())  # fmt: skip
        with torch.no_grad():
            assert check_gradients(torch=ALL["torch"], jax=ALL["jax"], **given).ok
            assert not torch.is_grad_enabled()
        with torch.inference_mode():
            assert check_gradients(torch=ALL["torch"], **given).ok
        after = (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(),
                 torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision())  # fmt: skip
        assert before == after
        assert torch.equal(state, torch.random.get_rng_state())
        assert jnp.ones(2).dtype == "float32"
    finally:
        jax.config.update("jax_enable_x64", True)
    assert check_gradients(jax=ALL["jax"], precision="float32", **given).ok
    assert jnp.ones(2).dtype == "float64"


def test_the_arrays_given_are_not_touched(given: dict[str, Any]) -> None:
    params, data = arrays()
    check_gradients(ALL, **given)
    for mine, theirs in ((params, given["params"]), (data, given["data"])):
        assert all(np.array_equal(mine[name], theirs[name]) for name in mine)


def test_a_jitted_function_and_one_that_cannot_be_are_both_taken(given: dict[str, Any]) -> None:
    def branching(params: Any, data: Any) -> Any:
        found = loss(jnp)(params, data)
        return found if found > 0 else -found

    assert check_gradients(jax=jax.jit(ALL["jax"]), torch=ALL["torch"], **given).ok
    assert check_gradients(jax=branching, torch=ALL["torch"], **given).ok


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "no function is given"),
        ({"functions": {"tensorflow": print}}, "there is no backend 'tensorflow'"),
        ({"functions": {"torhc": print}}, "did you mean 'torch'"),
        ({"functions": {"jax": print}, "jax": print}, "the function of jax is given twice"),
        ({"functions": [print]}, "functions is a list"),
        ({"jax": 3}, "jax is a int; it must be a function"),
        ({"numpy": print}, "NumPy differentiates nothing"),
        ({"jax": print, "numpy_gradient": print}, "numpy_gradient is the gradient of the function numpy"),
        ({"jax": print, "precision": "float16"}, "there is no precision 'float16'"),
        ({"jax": print, "operators": "gradient"}, "operators and optional are lists of names"),
        ({"jax": print, "operators": []}, "operators is empty"),
        ({"jax": print, "operators": ["value"]}, "there is no operator 'value'"),
        ({"jax": print, "engines": {"jax": "backward"}}, "there is no engine of jax 'backward'"),
        ({"jax": print, "optional": ["R"]}, "there is no backend 'R'"),
        ({"jax": print, "tolerance": 2.0}, "tolerance is 2.0"),
        ({"jax": print, "time_limit": 0}, "time_limit is 0"),
        ({"jax": print, "directions": 0}, "directions is 0"),
        ({"jax": print, "params": None}, "params is missing"),
        ({"jax": print, "params": {}}, "params is empty"),
        ({"jax": print, "params": {"W": np.ones(2) * 1j}}, "the parameter 'W' is complex"),
        ({"jax": print, "params": {"W": np.array([np.nan])}}, "'W' in params is not finite"),
        ({"jax": print, "params": {"a b": 1.0}}, "'a b' in params is no name"),
        ({"jax": print, "data": {"W": np.ones(2)}}, "'W' is among the params and the data"),
        ({"jax": print, "data": {"x": np.array(["a"])}}, "data 'x' is of dtype"),
        ({"jax": print, "data": [1]}, "data is a list"),
    ],
    ids=lambda one: "" if isinstance(one, dict) else one[:30],
)
def test_arguments_that_make_no_sense_are_one_sentence(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_gradients(**({"params": {"W": np.ones(2)}} | arguments))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
