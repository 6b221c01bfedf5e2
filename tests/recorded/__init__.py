"""What real programs wrote, byte for byte, and tests that replay it. record.py makes the files anew; nobody edits them.

control_plane/   kube-apiserver and kube-scheduler 1.37: pages of lists, watches, errors, calls of an extender,
                 and kubectl's count of each node
"""
