"""The function that launches on demand what spot capacity has not."""
