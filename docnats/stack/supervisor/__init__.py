"""Own child processes for some user processes; end them when the last user is gone.

A program of its own with nothing but the standard library, so that it starts in tens of
milliseconds and stays small; :mod:`docnats.stack.client` launches it without ``site`` and
without the rest of docnats, and speaks to it, one JSON object a line each way.

Every connection is one *user*. A user is gone when it says ``leave``, when its connection
closes, and when its process ends, even if a forked sibling still holds the connection open.
A child that ends unasked is started again after a pause; one that ends early again and again
has failed for good. The children end with the supervisor in every case: by SIGTERM and
SIGKILL in the order asked for, and by the kernel (``PR_SET_PDEATHSIG``) if the supervisor
itself is killed.
"""
