"""What runs inside a builder's namespaces in place of the instance: its init, its units and its metadata service."""
