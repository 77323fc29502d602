"""What every other floor may use: class priors, optional imports, seeds."""
