"""Proves at a deploy that builders boot from what they will be launched from."""
