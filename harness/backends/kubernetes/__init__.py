"""Real clusters: one made by kind for the session, or any that a kubeconfig names."""
