"""Intervals and tests: unit bootstrap, placebos in space and time, conformal inference."""
