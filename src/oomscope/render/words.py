"""The fixed vocabulary: what each verdict, strength, status, pattern and gap reason is called, and what it means."""

from __future__ import annotations

VERDICTS = {
    "oom_limit": "OOMKilled",
    "oom_node": "OOM-killed by the node",
    "oom_child": "Process OOM-killed",
    "not_oom": "Not an OOM kill",
    "undetermined": "Unclear restart",
}
CONFIRMED = {
    "oom_limit": "Yes",
    "oom_node": "Yes (the node or its allocatable memory ran out, not the container's own limit)",
    "oom_child": "Yes (one process inside; the container lived on)",
    "not_oom": "No",
    "undetermined": "Unknown",
}
STRENGTHS = {
    "strong": "independent kinds of evidence agree, and nothing serious speaks against it",
    "moderate": "one kind of evidence is clear; another explanation is left",
    "weak": "possible; another explanation is about as good",
    "inconclusive": "the evidence does not say",
}
STATUSES = {
    "supported": "the evidence speaks for it",
    "weak": "the evidence hardly speaks for it",
    "ruled_out": "the evidence speaks against it",
    "untested": "there was no evidence to test it with",
}
PATTERNS = {
    "large_response": "Large responses pile up",
    "large_payload": "Payload too large",
    "memory_leak": "Memory leak in a request handler",
    "concurrent_spike": "Spike of concurrent requests",
    "runaway_request": "One request grows without bound",
    "background_job": "Background job",
    "undersized_limit": "Limit too small for ordinary work",
    "node_pressure": "Node ran out of memory",
    "process_growth": "Process grows, no one request to blame",
    "not_oom": "Not an OOM kill",
}
SHORT = {
    "large_response": "large responses",
    "large_payload": "large payload",
    "memory_leak": "memory leak",
    "concurrent_spike": "request spike",
    "runaway_request": "runaway request",
    "background_job": "background job",
    "undersized_limit": "limit too small",
    "node_pressure": "node pressure",
    "process_growth": "process growth",
    "not_oom": "not an OOM kill",
}
REASONS = {
    "off": "not given",
    "denied": "access denied",
    "unreachable": "unreachable",
    "timed_out": "timed out",
    "no_data": "no data",
    "too_late": "already deleted",
    "not_yet": "not there yet",
    "unparsable": "not understood",
    "cut": "cut short",
}
SOURCES = {
    "app_log": "application log",
    "kernel_log": "kernel log",
    "alb": "load balancer log",
    "kubernetes": "Kubernetes",
    "prometheus": "Prometheus",
    "memory": "memory samples",
    "cloudwatch": "CloudWatch",
    "events": "Kubernetes events",
    "restarts": "restart count",
}
SCORE_PARTS = {
    "prior": "how common such a cause is",
    "count": "how many were open at the kill",
    "age": "how long it had been running",
    "time": "how much of the last seconds it was running",
    "arrivals": "how many began shortly before",
    "growth": "memory grew while it was active",
    "share": "its share of the growth",
    "rise": "speed of the last rise",
    "tight": "memory near the limit early on",
    "busy": "how often it had run before",
    "work": "how long its runs took together",
    "caught": "a run of it was open at the kill",
    "sent": "size of its responses",
    "received": "size of its request bodies",
    "allocs": "objects it allocated",
    "recurrence": "the other kills",
    "same_input": "open requests ask for the same",
    "alone": "a single long request",
    "no_burst": "no burst of arrivals",
    "no_body": "no large body",
    "not_long": "none open unusually long",
    "few": "too many open for a single runaway",
    "slow": "slow runs that ended just before",
    "together": "how many were open together",
    "one_explains": "one endpoint explains the growth alone",
    "sudden": "how sudden the last minutes were",
}
ENDPOINT_COLUMNS = {
    "endpoint": "method and path, or controller and action",
    "open": "requests of it open at the kills",
    "expected": "how many would be open by chance, from its traffic and durations",
    "lift": "open divided by expected",
    "share": "part of all requests in the window",
    "p50/p99": "half, and 99 of 100, of its requests were faster than this",
    "longest": "longest one open at the kill",
    "memory": "median growth of memory while one was open, and from how many (n)",
    "response": "99 of 100 responses were smaller than this",
    "survived": "runs that completed",
}


def status_word(status: str, strength: str) -> str:
    """The one word shown for a hypothesis."""
    return {"ruled_out": "ruled out", "untested": "untested"}.get(status, strength)
