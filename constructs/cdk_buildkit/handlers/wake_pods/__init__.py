"""The function that wakes a fleet."""
