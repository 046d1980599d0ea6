"""The counter for uWSGI; each worker has its own."""
import itertools
import os

numbers = itertools.count(1)


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d %d\n" % (os.getpid(), next(numbers))]
