"""The function that says which cache a build should import."""
