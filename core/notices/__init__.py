"""What a person is told while the system runs live: bundled, within the broker's and the cloud's quotas."""
