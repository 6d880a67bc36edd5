"""The composition root: the only place that names concrete classes. Nothing here runs before it is called.

One file for what each process needs: `store` is shared, `services` is the server's, `indexing` the worker's, so that
neither imports what only the other one uses.
"""
