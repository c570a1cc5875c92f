"""Made-up incidents with a known cause, beyond what can be staged in a lab: ``python -m bench.simulate``.

A fleet of pods serves random traffic with threads and a queue; requests hold memory while they run, heaps keep their
high water for a while, boots warm up, tables stall, and one chosen fault pushes one pod over its limit. What a log, a
load balancer and a sampler would have seen of it becomes an evidence bundle. Everything follows from the seed.
"""
