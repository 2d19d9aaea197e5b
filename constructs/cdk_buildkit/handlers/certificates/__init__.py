"""Issues and renews the certificates of one fleet."""
