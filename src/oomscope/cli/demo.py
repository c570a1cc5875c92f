"""``oomscope demo``: a real incident that ships with the package, investigated without any network."""

from __future__ import annotations

from oomscope.cli import options as opt


def command(
    fmt: opt.Format = None,
    output: opt.Output = "-",
    full: opt.Full = False,
    color: opt.Color = "auto",
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Investigate a real OOM kill that ships with the package: no cluster, no keys, no network.

    Examples:

      oomscope demo

      oomscope demo -o demo.html
    """
    from oomscope import pipeline
    from oomscope.cli.output import pick_format, write_report

    pick_format(fmt, output)
    write_report(pipeline.demo_report(), fmt=fmt, output=output, full=full, color=color, quiet=quiet)
