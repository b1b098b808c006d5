"""Raw ECG recordings to a feature store."""
