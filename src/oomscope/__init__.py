"""oomscope: names the request that killed the pod."""

__version__ = "0.1.0"
