"""ALB access logs: reading, path templates, and the one query definition for files and Athena. Pure."""

from oomscope.alb.line import AlbStats, normalise_trace_id, sniff_alb
from oomscope.alb.paths import path_template
from oomscope.alb.read import parse_alb, parse_alb_report

__all__ = ["AlbStats", "normalise_trace_id", "parse_alb", "parse_alb_report", "path_template", "sniff_alb"]
