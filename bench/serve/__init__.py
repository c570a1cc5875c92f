"""Figures of the service: a storm of alerts, ``kill -9``, hostile requests. See ``python -m bench.serve --help``."""
