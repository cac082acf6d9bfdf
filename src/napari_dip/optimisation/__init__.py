"""How the prior meets the measurement: the fit and when it stops."""
