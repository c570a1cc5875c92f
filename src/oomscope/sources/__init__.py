"""Where evidence comes from: saved files, and the live systems."""
