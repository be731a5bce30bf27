"""What is told as it happens: the feed of events, agents' websockets, and whoever waits for one thing."""
