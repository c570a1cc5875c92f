#!/usr/bin/env python3
"""Find requests that started and never completed: the same as `oomscope requests`."""

import sys

from oomscope.cli import main

main(["requests", *sys.argv[1:]])
