"""The parts of `kubesteer keep`: rounds over Secrets, etcd's users and agents' requests. keep.py is the command."""
