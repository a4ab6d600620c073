"""The ML domain: data, features, training, gates, rollout, verdicts and drift; it starts no platform process."""
