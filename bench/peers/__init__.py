"""The same work in each framework, as its own users would write it.

Every module offers ``make(net, task, size, mode)``, which returns a function that does one run and
returns a number, ``WARM_UP`` (runs before the clock starts) and ``VERSION``.
"""
