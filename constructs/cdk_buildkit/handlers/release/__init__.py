"""Copies BuildKit's release archives from their upstream into the account's bucket."""
