"""All settings of the project, decided by the environment. README.md has the table of variables.

With nothing set this is a development machine: SQLite, a secret key kept in a file, pages open on
the loopback address. As soon as one of PRODUCTION_SIGNS is set, the defaults are the safe ones of a
server.
"""

import os
import secrets
import tempfile
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from iotapp import environment

BASE_DIR = Path(__file__).resolve().parent.parent
ON_DYNO = "DYNO" in os.environ
PRODUCTION_SIGNS = ("SECRET_KEY", "DATABASE_URL", "ALLOWED_HOSTS", "DYNO")
# The folder of a running demo, set by `demo` alone: its database and its key, and no others.
DEMO = environment.text("DEMO")
IS_SERVER = any(os.environ.get(sign) for sign in PRODUCTION_SIGNS)
DEBUG = environment.flag("DEBUG", default=not IS_SERVER)
MAKE_A_KEY = "Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(50))'."


def read_secret_key() -> str:
    """Read SECRET_KEY, or in development a key kept in .secret_key.

    It is kept so that log-ins and stored credentials outlive a restart.
    """
    key = environment.text("SECRET_KEY")
    if not key and not DEBUG:
        signs = " and ".join(sign for sign in PRODUCTION_SIGNS if os.environ.get(sign)) or "DEBUG=0"
        raise ImproperlyConfigured(
            f"SECRET_KEY is not set, and {signs} says that this is a server. {MAKE_A_KEY} "
            "Keep it: stored credentials of gateways are encrypted with it. "
            "If this is your own machine, set DEBUG=1 instead."
        )
    key = key or read_key_file(Path(DEMO or BASE_DIR) / ".secret_key")
    if len(key) < 32:
        raise ImproperlyConfigured(f"SECRET_KEY is shorter than 32 characters. {MAKE_A_KEY}")
    return key


def read_key_file(path: Path) -> str:
    """Read the key in the file, which is made first where there is none.

    Of processes that start together one makes it.
    """
    try:
        if not path.exists():
            write_key_file(path)
        # Who does not own the file, such as a mounted secret, cannot change it.
        if path.stat().st_uid == os.geteuid():
            path.chmod(0o600)
        key = path.read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"{path} cannot be read or written ({error.strerror}): "
            "mend the permissions, or set SECRET_KEY."
        ) from None
    if len(key) < 32:
        raise ImproperlyConfigured(f"{path} holds no usable key: delete it and start again.")
    return key


def write_key_file(path: Path) -> None:
    """Make the file appear whole or not at all: it is written under another name, then linked."""
    descriptor, fresh = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(50))
        # FileExistsError: another process was first, and its key is the key.
        with suppress(FileExistsError):
            try:
                os.link(fresh, path)
            except PermissionError:
                # A file system without links, such as that of a memory card.
                os.replace(fresh, path)
    finally:
        Path(fresh).unlink(missing_ok=True)


SECRET_KEY = read_secret_key()
SECRET_KEY_FALLBACKS = environment.words("SECRET_KEY_FALLBACKS")
# Keys for stored credentials, newest first. Without them a key derived from SECRET_KEY is used.
FIELD_KEYS = environment.words("FIELD_KEYS")

ALLOWED_HOSTS = environment.words("ALLOWED_HOSTS")
if not ALLOWED_HOSTS and DEBUG:
    ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
elif not ALLOWED_HOSTS and ON_DYNO:
    ALLOWED_HOSTS = [".herokuapp.com"]
CSRF_TRUSTED_ORIGINS = environment.words("CSRF_TRUSTED_ORIGINS")

# What may be reached, and who may look.
HOME_NETWORKS = ["loopback", "private"]
GATEWAY_NETWORKS = environment.networks("GATEWAY_NETWORKS", HOME_NETWORKS if DEBUG else [])
PUBLIC_STATUS = environment.flag("PUBLIC_STATUS", default=DEBUG)

# The clock and the limits of polling.
POLL_INTERVAL_MINUTES = environment.number("POLL_INTERVAL_MINUTES", 10, least=0.05, most=1440)
POLL_INTERVAL = timedelta(minutes=POLL_INTERVAL_MINUTES)
POLL_WORKERS = environment.whole("POLL_WORKERS", 200, least=1, most=1000)
GATEWAY_TIMEOUT_SECONDS = environment.number("GATEWAY_TIMEOUT_SECONDS", 10, least=0.1, most=120)
LARGEST_ANSWER_BYTES = int(1e6 * environment.number("LARGEST_ANSWER_MB", 8, least=0.1, most=500))
# More would make pages and events of many megabytes.
MOST_ATTRIBUTES = environment.whole("MOST_ATTRIBUTES", 200, least=1, most=5000)
KEEP_DAYS = environment.whole("KEEP_DAYS", 400, least=1, most=36500)

# Sockets: the limits of one process, and how to reach the database without a pooler between.
SOCKETS_A_PROCESS = environment.whole("SOCKETS_A_PROCESS", 1000, least=1, most=50_000)
SOCKET_HEARTBEAT_SECONDS = environment.number("SOCKET_HEARTBEAT_SECONDS", 20, least=0.1, most=30)
LIVE_DATABASE_URL = environment.text("LIVE_DATABASE_URL")

# Where outside data comes from: feeds, each with a region after a colon where it needs one. For
# each signal the first counts.
FEEDS = environment.words("FEEDS")
FEED_CREDENTIALS = {"watttime": environment.text("WATTTIME_CREDENTIAL")}

INSTALLED_APPS = [
    # The simple one does not look for admin modules: a scheduled command needs none. urls.py does.
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "core",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "core.middleware.StaticFiles",
    "core.middleware.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "iotapp.urls"
# For `runserver`; gunicorn serves iotapp.asgi.
WSGI_APPLICATION = "iotapp.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def read_database() -> dict[str, Any]:
    """Read DATABASE_URL; by default a SQLite file next to manage.py.

    Each kind gets the options it needs to take many writers.
    """
    url = environment.text("DATABASE_URL", f"sqlite:///{BASE_DIR / 'db.sqlite3'}")
    if DEMO:
        url = f"sqlite:///{Path(DEMO) / 'db.sqlite3'}"
    try:
        database: dict[str, Any] = dict(dj_database_url.parse(url))
    except ValueError:  # its message may quote the password
        raise ImproperlyConfigured(
            "DATABASE_URL cannot be read. Example: postgres://user:password@host:5432/name, "
            "where signs such as / # @ in the password are written %2F %23 %40"
        ) from None
    options = database.setdefault("OPTIONS", {})
    if database["ENGINE"] == "django.db.backends.sqlite3":
        if ON_DYNO:
            raise ImproperlyConfigured(
                "SQLite on a Heroku dyno loses everything at each restart, and web and scheduler "
                "would not share it. "
                "Add PostgreSQL: heroku addons:create heroku-postgresql:essential-0"
            )
        if database["NAME"] != ":memory:":
            # Cron starts elsewhere, and would make another file there.
            database["NAME"] = str(BASE_DIR / database["NAME"])
        # core/models/journal.py chooses WAL, or a rollback journal on a disk where that cannot be.
        options |= {"transaction_mode": "IMMEDIATE", "timeout": 20}
    elif database["ENGINE"] == "django.db.backends.postgresql":
        database["CONN_MAX_AGE"] = 0
        # A pooled connection that died is found when it is taken, not by a person.
        database["CONN_HEALTH_CHECKS"] = True
        options.setdefault("connect_timeout", 10)
        options["pool"] = {
            "min_size": 1,
            "max_size": environment.whole("DATABASE_POOL_SIZE", 4, least=1, most=100),
            "timeout": 20,
        }
    else:
        raise ImproperlyConfigured(
            "DATABASE_URL must name PostgreSQL (postgres://...) or SQLite (sqlite:///file)."
        )
    return database


DATABASES = {"default": read_database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "core.User"
AUTHENTICATION_BACKENDS = ["core.tasks.log_in.Backend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "status"
LOGOUT_REDIRECT_URL = "status"

# No page takes a file: what is sent as one is not kept. iotapp/bodies.py limits whole bodies.
FILE_UPLOAD_HANDLERS: list[str] = []

USE_TZ = True
TIME_ZONE = environment.zone("TIME_ZONE", "UTC")
LANGUAGE_CODE = "en-gb"
USE_I18N = False

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
WHITENOISE_USE_FINDERS = DEBUG
WHITENOISE_AUTOREFRESH = DEBUG
if DEBUG:
    STATIC_STORAGE = "django.contrib.staticfiles.storage.StaticFilesStorage"
else:
    STATIC_STORAGE = "iotapp.storage.StaticFilesStorage"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": STATIC_STORAGE},
}

# HTTPS everywhere but in development; HTTPS=0 is for a server at home, such as http://pi.local.
HTTPS = environment.flag("HTTPS", default=not DEBUG)
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
CSRF_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
if environment.flag("TRUST_PROXY", default=ON_DYNO):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

DEFAULT_EXCEPTION_REPORTER_FILTER = "iotapp.debug_pages.HidesCredentials"

LOG_LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
LOG_LEVEL = environment.choice("LOG_LEVEL", "WARNING", LOG_LEVELS)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    # Without Django's own handlers, which would say everything twice.
    "loggers": {"django": {"level": LOG_LEVEL}},
}
