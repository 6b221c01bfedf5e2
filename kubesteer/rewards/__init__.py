"""What is believed of (pod type, node) pairs, as arrays. numpy, no I/O, no clock."""
