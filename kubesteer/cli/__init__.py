"""The `kubesteer` command: thin; every command calls one capability."""
