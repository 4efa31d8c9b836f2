"""What engines are known not to do with the tensor renormalisation group."""

from diffprog.engines import NO_CIRCUIT, NO_EXPERT
from diffprog.spec import OPERATORS, Limit

STATUS = "PyTorch reads the status of every decomposition on the host, which no CUDA graph may do"
LIMITS = (Limit("torch", "cudagraph", OPERATORS, STATUS, devices=("cuda",)), NO_EXPERT, NO_CIRCUIT)
