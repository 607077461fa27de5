"""What the synthetic learners are compared with, as estimators of the same interface."""
