"""The WSGI application that `runserver` serves: pages without sockets."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iotapp.settings")
application = get_wsgi_application()
