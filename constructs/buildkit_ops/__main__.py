"""`python -m buildkit_ops` is the tool `cdk-buildkit`."""

from buildkit_ops.cli import main

main()
