"""The three steps of the script workflow: fetch logs, find incomplete requests, look them up in the ALB's log.

Each step reads and writes one JSON file, and the output of one is the input of the next.
"""
