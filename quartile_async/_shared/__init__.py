"""What processes share through Redis: a quota and tokens. Public in `quartile_async.redis`."""
