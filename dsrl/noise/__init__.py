"""Turn the actor's vector into the sampler's initial noise, one module per parametrisation."""
