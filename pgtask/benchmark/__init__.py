"""What `pgtask bench` measures: pgtask beside the floor, what PostgreSQL alone does in the same run.

One module for each kind of measurement; `suite` knows them all, `bench` is what they share.
"""
