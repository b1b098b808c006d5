"""The feature store: sharded Zarr v3 arrays that are published whole and can be verified."""
