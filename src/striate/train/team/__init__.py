"""Several processes that train one network: what they exchange, and how a loss and its gradients become the whole's."""
