"""The fixture in other people's tests: installed as their pip does it, in a session of their own."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import diffprog

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[2]
STRICT = ("-p", "no:cacheprovider", "-W", "error", "--strict-config", "--strict-markers")

MODELS = """
import numpy as np
import pytest

jnp = pytest.importorskip("jax.numpy")
GIVEN = {"params": {"W": np.array([0.3, -0.7]), "b": 0.2}, "data": {"X": np.array([[1.0, 2.0], [0.5, -1.0]])}}

def right(params, data):
    return jnp.tanh(data["X"] @ params["W"] + params["b"]).sum()

def by_hand(params, data):
    z = np.tanh(data["X"] @ params["W"] + params["b"])
    return z.sum(), {"W": data["X"].T @ (1 - z**2), "b": (1 - z**2).sum()}

def with_a_sign_error(params, data):
    value, slopes = by_hand(params, data)
    return value, slopes | {"b": -slopes["b"]}

def value(params, data):
    return by_hand(params, data)[0]
"""


@pytest.fixture
def installed(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A session in which the suite is an installed distribution with the entry points of pyproject.toml."""
    site = pytester.mkdir("site") / "diffprog_suite-0.dist-info"
    site.mkdir()
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: diffprog-suite\nVersion: 0\n")
    (site / "entry_points.txt").write_text("[pytest11]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()))
    home = Path(diffprog.__file__).parent
    (site / "RECORD").write_text("".join(f"diffprog/{path.relative_to(home)},,\n" for path in home.rglob("*.py")))
    monkeypatch.setenv("PYTHONPATH", f"{site.parent}:{home.parent}")
    pytester.path.joinpath("models.py").write_text(MODELS)
    pytester.makeini("[pytest]\npythonpath = .\n")
    return pytester


def test_functions_that_agree_pass_and_others_fail_with_the_table(installed: pytest.Pytester) -> None:
    installed.makepyfile(
        """
        from models import *

        def test_right(check_gradients):
            result = check_gradients(jax=right, numpy=value, numpy_gradient=by_hand, **GIVEN)
            assert result.ok

        def test_wrong(check_gradients):
            check_gradients(jax=right, numpy=value, numpy_gradient=with_a_sign_error, **GIVEN)

        def test_wrong_but_asked(check_gradients):
            result = check_gradients(jax=right, numpy=value, numpy_gradient=with_a_sign_error, raises=False, **GIVEN)
            assert [row.backend for row in result.rows if not row.ok] == ["numpy"]

        def test_nonsense(check_gradients):
            check_gradients(jax=right, params={})
        """
    )
    found = installed.runpytest_subprocess(*STRICT)
    found.assert_outcomes(passed=2, failed=2)
    found.stdout.fnmatch_lines(
        ["*GradientMismatch: disagrees: numpy (gradient of 2 parameters, float64)*", "*numpy *disagrees*b by 2.0e+00*"]
    )
    found.stdout.fnmatch_lines(["*b (2.00e+00) differ, W not*"])
    found.stdout.fnmatch_lines(["*params is empty: there is nothing to differentiate by*"])
    assert "raise_for_status" not in found.stdout.str()  # the lines shown are the test's


def test_it_works_in_several_processes_at_once(installed: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    installed.makepyfile(
        """
        import pytest
        from models import *

        @pytest.mark.parametrize("seed", range(4))
        def test_right(check_gradients, seed):
            check_gradients(jax=right, numpy=value, numpy_gradient=by_hand, seed=seed, **GIVEN)
        """
    )
    installed.runpytest_subprocess(*STRICT, "-n", "2").assert_outcomes(passed=4)


def test_a_session_that_does_not_use_it_has_nothing_of_it(
    installed: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No NumPy, no module but the plugin's own and the package's, no warning; the fixture is told."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # of others, which import what they like
    installed.makepyfile(
        """
        import sys

        def test_imports():
            assert not {"numpy", "jax", "torch", "scipy", "msgspec"} & set(sys.modules)
            ours = {name for name in sys.modules if name.startswith("diffprog")}
            assert ours == {"diffprog", "diffprog.version", "diffprog.pytest_plugin"}
        """
    )
    own = ("-p", "diffprog.pytest_plugin")
    installed.runpytest_subprocess(*STRICT, *own).assert_outcomes(passed=1)
    told = installed.runpytest_subprocess(*STRICT, *own, "--fixtures")
    told.stdout.fnmatch_lines(["check_gradients*", "*Compares the gradients of functions*"])


def test_a_fixture_of_their_own_of_that_name_is_theirs(installed: pytest.Pytester) -> None:
    installed.makeconftest("import pytest\n\n@pytest.fixture\ndef check_gradients():\n    return 7\n")
    installed.makepyfile("def test_it(check_gradients):\n    assert check_gradients == 7\n")
    installed.runpytest_subprocess(*STRICT).assert_outcomes(passed=1)
