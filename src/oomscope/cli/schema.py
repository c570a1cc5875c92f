"""``oomscope schema``: the JSON Schema of the report."""

from __future__ import annotations


def command() -> None:
    """Print the JSON Schema of the report (format 1).

    Example:

      oomscope schema > report-schema.json
    """
    import json

    from oomscope.report import json_schema

    print(json.dumps(json_schema(), indent=1))
