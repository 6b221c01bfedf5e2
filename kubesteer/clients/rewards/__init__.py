"""Where rewards are kept: ports, etcd (two back ends), a file, memory. What a reward means is not decided here."""
