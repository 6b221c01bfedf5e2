"""What holds for every test: Hypothesis judges no speed, neither of an example nor of making one."""

from hypothesis import HealthCheck, settings

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
