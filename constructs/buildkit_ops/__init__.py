"""What runs after synth: the cache's key space and the operator's view of it. Imports no CDK."""
