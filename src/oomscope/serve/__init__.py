"""The service: an alert comes in, the answer is in the channel."""
