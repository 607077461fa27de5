"""What shows that the method holds, on real data and on simulations."""

EXPERIMENTS: tuple = ()
