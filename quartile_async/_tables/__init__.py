"""Tables of items as people have them, format by format; `quartile_async.files` is the door."""
