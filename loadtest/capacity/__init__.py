"""How much a machine carries: points measured here, a model fitted to them, what it says of others."""
