"""Pure analysis: evidence bundle in, Report document out. No clock, environment, network or files."""
