"""NumPy: the reference. Its gradients are written by hand."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from suite import tasks
from suite.backends.base import Prepared, Unsupported, by_hand, in_precision
from suite.spec import Arrays


class NumpyBackend:
    name = "numpy"

    def open(self, precision: str, device: str, threads: int) -> None:
        if device != "cpu":
            raise Unsupported(f"NumPy computes on the CPU only, not on {device}")
        import scipy.special  # noqa: F401  - so that no timed call pays for the import

        self.precision = precision

    def prepare(self, task: str, config: Any, method: str, inputs: Arrays) -> Prepared:
        try:
            functions = tasks.functions(task, self.name, config, method)
        except NotImplementedError as error:
            raise Unsupported(str(error)) from error
        data = in_precision(inputs, self.precision)
        theta = data.pop("params")
        return Prepared(
            value=partial(functions.value, theta, data),
            gradient=partial(functions.gradient, theta, data),
            synchronise=lambda result: None,
            fetch_value=float,
            fetch=lambda result: (float(result[0]), np.asarray(result[1])),
            value_at=lambda x: float(functions.value(x.astype(self.precision), data)),
            outputs=partial(functions.outputs, theta, data),
            work=partial(functions.work, theta, data),
            value_by_hand=by_hand(functions.value, theta, data),
            gradient_by_hand=by_hand(functions.gradient, theta, data),
            engine=functions.engine,
        )

    def versions(self) -> dict[str, str]:
        import scipy

        return {"numpy": np.__version__, "scipy": scipy.__version__}

    def switches(self) -> dict[str, str]:
        from threadpoolctl import threadpool_info

        return {
            f"{pool['user_api']}:{pool['internal_api']}": f"{pool['num_threads']} threads" for pool in threadpool_info()
        }

    def device_peak(self) -> int | None:
        return None


BACKEND = NumpyBackend
