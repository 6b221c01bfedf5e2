"""What a deployment of kubesteer needs, does, waits for and proves: decided over what was read, without I/O."""
