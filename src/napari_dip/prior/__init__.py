"""What we believe: untrained networks with a controlled spectral bias."""
