"""All settings of the project, decided by the environment. README.md has the table of variables.

With nothing set this is a development machine: SQLite, a secret key kept in a file, pages open on
the loopback address. As soon as one of PRODUCTION_SIGNS is set, the defaults are the safe ones of a
server.
"""

import hashlib
import os
import secrets
import tempfile
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import dj_database_url
import django
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

# What runs when: the same for cron, beat, the pages and what is called late.
TIME_ZONE = environment.zone("TIME_ZONE", "UTC")
POLL_INTERVAL_MINUTES = environment.number("POLL_INTERVAL_MINUTES", 10, least=0.05, most=1440)
SCHEDULE = environment.schedules(
    "SCHEDULE",
    dict.fromkeys(
        ("poll_devices", "do_something_awesome"), timedelta(minutes=POLL_INTERVAL_MINUTES)
    ),
    TIME_ZONE,
)
POLL_INTERVAL = SCHEDULE["poll_devices"].usual_gap

# Workers, where one machine is not enough: a broker, and the queue in it that is this site's own.
CELERY_BROKER_URL = environment.text("CELERY_BROKER_URL")
CELERY_QUEUE = environment.text("CELERY_QUEUE", "iotapp")
CELERY_APP = "iotapp.celery.app"

# The limits of polling.
POLL_WORKERS = environment.whole("POLL_WORKERS", 200, least=1, most=1000)
GATEWAY_TIMEOUT_SECONDS = environment.number("GATEWAY_TIMEOUT_SECONDS", 10, least=0.1, most=120)
LARGEST_ANSWER_BYTES = int(1e6 * environment.number("LARGEST_ANSWER_MB", 8, least=0.1, most=500))
# More would make pages and events of many megabytes.
MOST_ATTRIBUTES = environment.whole("MOST_ATTRIBUTES", 200, least=1, most=5000)
KEEP_DAYS = environment.whole("KEEP_DAYS", 400, least=1, most=36500)
# Of some attributes, by name: "power:90, signal_strength:14".
KEEP_DAYS_OF = environment.limits("KEEP_DAYS_OF", "power:90, signal_strength:14")
KEEP_HOURLY_DAYS = environment.whole("KEEP_HOURLY_DAYS", 3650, least=1, most=36500)

# Sockets: the limits of one process, and how to reach the database without a pooler between.
SOCKETS_A_PROCESS = environment.whole("SOCKETS_A_PROCESS", 1000, least=1, most=50_000)
SOCKET_HEARTBEAT_SECONDS = environment.number("SOCKET_HEARTBEAT_SECONDS", 20, least=0.1, most=30)
LIVE_DATABASE_URL = environment.text("LIVE_DATABASE_URL")
# A hosted service that open pages follow events through, in place of our own sockets.
RELAY = environment.relay("RELAY_URL")

# Where outside data comes from: feeds, each with a region after a colon where it needs one. For
# each signal the first counts.
FEEDS = environment.words("FEEDS")
FEED_CREDENTIALS = environment.of_feeds(FEEDS, "CREDENTIAL")
FEED_OPTIONS = environment.of_feeds(FEEDS, "OPTIONS")

# Who is told when something is wrong, and who notices when nothing runs any more.
ALERTS = environment.words("ALERTS")
ALERT_AFTER_FAILURES = environment.whole("ALERT_AFTER_FAILURES", 3, least=1, most=100)
ALERT_QUIET_HOURS = environment.hours("ALERT_QUIET_HOURS")
PINGS = environment.pings("PINGS", SCHEDULE)

INSTALLED_APPS = [
    "iotapp.apps.AdminConfig",
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
    "core.api.limits.limits",
    "core.api.half_a_site.refuse",
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
DEFAULT_EXCEPTION_REPORTER = "iotapp.debug_pages.HidesLinks"

# The API. Nothing of this is imported before its first request.
REST_FRAMEWORK = {
    # A token first: what comes with one is not asked for the CSRF token too.
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "core.api.authentication.Bearer",
        "core.api.authentication.Session",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["core.api.permissions.HasRight"],
    "DEFAULT_RENDERER_CLASSES": ["core.api.rendering.JsonRenderer"],
    "DEFAULT_PARSER_CLASSES": ["core.api.rendering.JsonParser"],
    "DEFAULT_SCHEMA_CLASS": "core.api.schema.Operation",
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "core.api.problems.answer",
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "iotapp",
    "DESCRIPTION": "Internet-connected devices that react to the world.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_ADD_EXPLICIT_BLANK_NULL_CHOICE": False,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "POSTPROCESSING_HOOKS": ["core.api.schema.complete"],
}

# Mail: invitations and links to log in. On a development machine it is printed.
MAIL = environment.mail("EMAIL_URL")
SENDS_MAIL = DEBUG or MAIL is not None
if django.VERSION >= (6, 1):
    MAILERS = {"default": MAIL.as_mailer() if MAIL else environment.PRINTED_MAIL}
    if not SENDS_MAIL:
        # A site may send no mail: pages and commands say so.
        MAILERS = {}
        SILENCED_SYSTEM_CHECKS = ["mail.W001"]
elif MAIL:
    EMAIL_HOST, EMAIL_PORT, EMAIL_TIMEOUT = MAIL.host, MAIL.port, MAIL.timeout
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = MAIL.username, MAIL.password
    EMAIL_USE_TLS, EMAIL_USE_SSL = MAIL.use_tls, MAIL.use_ssl
else:
    EMAIL_BACKEND = environment.PRINTED_MAIL["BACKEND"]
DEFAULT_FROM_EMAIL = environment.text("EMAIL_FROM", "iotapp@localhost")
# Where links in mails lead to.
SITE_URL = environment.text("SITE_URL")
# A link works once: the log-in that it brings makes it void, as any other does.
SESAME_MAX_AGE = timedelta(days=7)
SESAME_ONE_TIME = True
# Tokens of its first version know no scope: looking at one ended in an error.
SESAME_TOKENS = ["sesame.tokens_v2"]
# One that went to a wrong address is void once the address is put right.
SESAME_INVALIDATE_ON_EMAIL_CHANGE = True

# Of one token, and of one address without a token that is known to be right.
API_REQUESTS_A_MINUTE = environment.whole("API_REQUESTS_A_MINUTE", 600, least=1, most=1_000_000)
# What tokens are sold with: a name and requests a day, such as "free:1000, home:50000".
API_PLANS = environment.limits("API_PLANS", "free:1000, home:50000")

# Answers of the API that are kept. Without Redis each process keeps its own.
REDIS_URL = environment.redis("REDIS_URL")
CACHES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "TIMEOUT": 600,
        "OPTIONS": {"MAX_ENTRIES": 200},
    }
}
if REDIS_URL:
    # What another site keeps in the same Redis is never taken for ours.
    site = hashlib.sha256(f"{SECRET_KEY} {DATABASES['default']['NAME']}".encode()).hexdigest()
    CACHES["default"] |= {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": f"iotapp-{site[:16]}",
        "OPTIONS": {
            "serializer": "core.api.cache.Bytes",
            "socket_timeout": 0.5,
            "socket_connect_timeout": 0.5,
        },
    }

# Where errors are told to, if anywhere.
SENTRY_DSN = environment.dsn("SENTRY_DSN")

LOG_LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
LOG_LEVEL = environment.choice("LOG_LEVEL", "WARNING", LOG_LEVELS)
LOG_FORMAT = environment.choice("LOG_FORMAT", "TEXT", ["TEXT", "JSON"])
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "TEXT": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"},
        "JSON": {"()": "core.net.logs.JsonLines"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    # Without Django's own handlers, which would say everything twice.
    "loggers": {"django": {"level": LOG_LEVEL}},
}
