"""The training loop and what it needs: steps, devices, compiled graphs, checkpoints, records."""
