#!/usr/bin/env python3
"""Fetch a pod's log before its death from CloudWatch Logs: the same as `oomscope logs`."""

import sys

from oomscope.cli import main

main(["logs", *sys.argv[1:]])
