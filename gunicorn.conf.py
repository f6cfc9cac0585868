"""How gunicorn serves the pages; it reads this file by itself, and listens on PORT where that is set, as on Heroku.

Each process opens up to DATABASE_POOL_SIZE (4) database connections. A small PostgreSQL plan allows 20: two processes
here take 8, which leaves 12 for polling, deciding and a person at a prompt.
"""

import os

workers = int(os.environ.get("WEB_CONCURRENCY") or 2)
worker_class = "gthread"
threads = 4  # as many as there are database connections
timeout = 30  # a worker that was silent for so long is replaced
graceful_timeout = 10  # for requests under way when asked to stop; Heroku kills after 30
keepalive = 100  # longer than the 90 s of Heroku's router, so that it is never us who hangs up first
control_socket_disable = True  # it would lie in the home folder, and two servers would fight over it
accesslog = None
