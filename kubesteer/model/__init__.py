"""Words shared by every room: quantities, cluster objects, reward records, errors. Standard library only."""
