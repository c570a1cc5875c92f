"""How often the tool is right, on a folder of incidents whose truth is known: ``python -m bench.accuracy``."""
