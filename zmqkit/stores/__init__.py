"""Stores: where the tasks of a queue are kept, behind one contract.

`contract` says what a store promises; `ledger_store` keeps the promises with what zmqkit has.
"""
