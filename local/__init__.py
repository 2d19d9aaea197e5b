"""The embedded default: the same stacks on an emulated account, with real BuildKit, on one Linux machine."""
