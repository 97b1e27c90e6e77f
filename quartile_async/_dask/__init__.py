"""Uploads that run on many machines, as tasks of Dask. Public in `quartile_async.dask`."""
