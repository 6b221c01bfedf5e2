"""The test bed: a real Kubernetes control plane on one machine, for kubesteer's own tests.

`build` makes the binaries from Go modules, `ControlPlane` starts and stops them, `Client` talks to them.
Nothing here knows kubesteer but the fixture that brings its image: scenarios do.
"""
