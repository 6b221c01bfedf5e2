"""Where rewards are kept: ports, etcd (two back ends), a file, memory. The meaning of a reward is not decided here."""
