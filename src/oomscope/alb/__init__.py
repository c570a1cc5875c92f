"""ALB access logs: reading, path templates, and the one query definition for files and Athena. Pure."""

from oomscope.alb.answer import answer_frame
from oomscope.alb.ddl import ddl
from oomscope.alb.line import AlbStats, normalise_trace_id, sniff_alb
from oomscope.alb.query import AlbQuery, AlbTable, discover
from oomscope.alb.read import parse_alb, parse_alb_report, scan_alb
from oomscope.alb.summary import payload_per_endpoint
from oomscope.alb.templates import (
    Endpoints,
    endpoint_of_paths,
    endpoints_of,
    learn_templates,
    path_counts,
    path_template,
    templates,
)

__all__ = [
    "AlbQuery",
    "AlbStats",
    "AlbTable",
    "Endpoints",
    "answer_frame",
    "ddl",
    "discover",
    "endpoint_of_paths",
    "endpoints_of",
    "learn_templates",
    "normalise_trace_id",
    "parse_alb",
    "parse_alb_report",
    "path_counts",
    "path_template",
    "payload_per_endpoint",
    "scan_alb",
    "sniff_alb",
    "templates",
]
