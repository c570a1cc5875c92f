"""How fast logs are read, against what a user would take instead. See ``docs/speed.md``."""
