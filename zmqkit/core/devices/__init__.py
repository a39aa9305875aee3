"""The cores of devices that stand between roles; those of brokers are in `majordomo`."""
