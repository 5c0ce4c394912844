"""Speed and memory of gen beside its peers, measured in one run."""
