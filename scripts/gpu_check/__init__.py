"""What scripts/gpu-pack and scripts/gpu-check are made of."""
