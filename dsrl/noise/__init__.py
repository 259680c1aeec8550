"""How the actor's vector becomes the sampler's initial noise."""
