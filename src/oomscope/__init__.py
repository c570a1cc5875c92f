"""oomscope: names the request that killed the pod."""

import os

__version__ = "0.1.0"

# The matrices here are small: more threads of the linear algebra only wait for each other, ten times the processor
# time on a busy node, and rounding would depend on the number of cores. Read once, when numpy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
