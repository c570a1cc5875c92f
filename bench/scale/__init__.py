"""What a large cluster costs: a simulation of many investigations that share one account's quotas."""
