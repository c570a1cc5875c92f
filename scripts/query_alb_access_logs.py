#!/usr/bin/env python3
"""Look incomplete requests up in the ALB's access log: the same as `oomscope alb query`."""

import sys

from oomscope.cli import main

main(["alb", "query", *sys.argv[1:]])
