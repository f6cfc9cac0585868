"""Whether the server of this container answers at all: its health check.

Any answer will do: what is wrong with vendors, schedule or database is for /healthz to tell, and
starting this container anew would not mend it.
"""

import os
from http.client import HTTPConnection

host = os.environ["ALLOWED_HOSTS"].split(",")[0].strip().removeprefix(".")
connection = HTTPConnection("127.0.0.1", int(os.environ["PORT"]), timeout=5)
# By a name of the site: each request by another is a line in the log.
connection.request("HEAD", "/healthz", headers={"Host": host})
connection.getresponse()
