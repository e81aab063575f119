"""How a step changes the weights: optimizers, schedule, averages of the weights, a whitened first layer."""
