"""The constants that answers are judged by; a task's own tolerance stands in its declaration."""

from __future__ import annotations

import numpy as np

FLOAT32_EPS = float(np.finfo(np.float32).eps)
FLOAT32_FACTOR = 10
"""A float32 answer may be this many times as far from the float64 reference as the reference's own float32 one."""
FLOAT32_FLOOR = 64 * FLOAT32_EPS
"""And need not be nearer than this: the reference may be lucky."""
FLOAT32_REFERENCE = 1e4 * FLOAT32_EPS
"""The reference's own float32 answer is held to this."""
TF32_FACTOR = 2**13
"""TF32 rounds the factors of a product to 11 bits where float32 has 24: errors may be as many times larger."""
TF32_MOST = 0.1
"""But no larger than this: then it is no answer, however ill-conditioned the case."""
COMPONENT = 1e-7
"""The relative error that one component of a float64 gradient or hvp may have; see ``errors.compare``. The norm alone
would let a small component be wrong altogether. Not asked where more than the task's tolerance is allowed."""
NOISE_FACTOR = 50
"""A float64 answer beyond its task's tolerance may be so many times as far off as the reference's own answer moves when
its inputs move by a unit in the last place; see ``rounding.noise``. 15 was the most in 1,000 cases."""
NOISE_MOST = 1e-6
"""But no farther than this."""
OUTPUT_MOST = 0.1
"""The same of an output, in each precision: a spectrum after many steps of renormalisation may be chaotic."""
