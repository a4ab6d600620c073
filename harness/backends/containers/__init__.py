"""The containers world: the platform as Docker containers, without Kubernetes; decided by the embedded controller."""
