"""What compare.py measures dtsched beside: each system in an environment of its own under build/peers."""
