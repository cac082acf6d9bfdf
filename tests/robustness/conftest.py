"""How long to search for input that breaks something: seconds per test, or longer with --hypothesis-profile=full."""

from hypothesis import HealthCheck, settings

_ANY = {
    "deadline": None,  # times mean nothing on a busy machine
    "database": None,  # nothing is written into the checkout
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
}
settings.register_profile("short", max_examples=40, derandomize=True, **_ANY)
settings.register_profile("full", max_examples=1000, print_blob=True, **_ANY)
settings.load_profile("short")
