"""Devices: processes that stand between roles, each declared by one TOML file."""
