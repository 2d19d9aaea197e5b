"""The application's stacks: define, connect, grant, output."""
