"""Training of a direction in h-space: the pictures, the loss, the steps, the checkpoints."""
