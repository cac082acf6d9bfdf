"""What we believe: untrained networks whose spectral bias is controlled."""
