"""All settings of the project, decided by the environment. README.md has the table of variables.

With nothing set this is a comfortable development machine: SQLite, a secret key kept in a file, pages open on the
loopback address. As soon as one of PRODUCTION_SIGNS is set, the defaults are the safe ones of a server.
"""

import os
import secrets
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
DEBUG = environment.flag("DEBUG", default=not any(os.environ.get(sign) for sign in PRODUCTION_SIGNS))


def read_secret_key() -> str:
    """SECRET_KEY, or in development a key kept in .secret_key, so that log-ins and stored credentials outlive a restart."""
    if key := environment.text("SECRET_KEY"):
        if len(key) < 32:
            raise ImproperlyConfigured(
                "SECRET_KEY is shorter than 32 characters. Make one with: "
                "python -c 'import secrets; print(secrets.token_urlsafe(50))'"
            )
        return key
    if not DEBUG:
        raise ImproperlyConfigured(
            "SECRET_KEY is not set. Make one with: python -c 'import secrets; print(secrets.token_urlsafe(50))', "
            "set it and keep it: stored credentials of gateways are encrypted with it."
        )
    path = BASE_DIR / ".secret_key"
    fresh = path.with_suffix(f".{os.getpid()}")
    try:
        if not path.exists():
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(50))
            with suppress(FileExistsError):  # another process was first: its key is the key
                os.link(fresh, path)
            fresh.unlink()
    except OSError as error:
        raise ImproperlyConfigured(
            f"Cannot write {path} ({error.strerror}): make the folder writable, or set SECRET_KEY."
        ) from None
    key = path.read_text().strip()
    if len(key) < 32:
        raise ImproperlyConfigured(f"{path} holds no usable key: delete it and start again.")
    return key


SECRET_KEY = read_secret_key()
SECRET_KEY_FALLBACKS = environment.words("SECRET_KEY_FALLBACKS")
# Keys for stored credentials, newest first. Without them a key derived from SECRET_KEY is used.
FIELD_KEYS = environment.words("FIELD_KEYS")

ALLOWED_HOSTS = environment.words("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"] if DEBUG else [])
if not DEBUG and not ALLOWED_HOSTS and ON_DYNO:
    ALLOWED_HOSTS = [".herokuapp.com"]
CSRF_TRUSTED_ORIGINS = environment.words("CSRF_TRUSTED_ORIGINS")
INTERNAL_IPS: list[str] = []

# What may be reached, and who may look.
GATEWAY_NETWORKS = environment.networks("GATEWAY_NETWORKS", ["loopback", "private"] if DEBUG else [])
PUBLIC_STATUS = environment.flag("PUBLIC_STATUS", default=DEBUG)

# The clock and the limits of polling.
POLL_INTERVAL = timedelta(minutes=environment.number("POLL_INTERVAL_MINUTES", 10, least=0.05, most=1440))
POLL_WORKERS = environment.whole("POLL_WORKERS", 200, least=1, most=1000)
GATEWAY_TIMEOUT_SECONDS = environment.number("GATEWAY_TIMEOUT_SECONDS", 10, least=0.1, most=120)
KEEP_DAYS = environment.whole("KEEP_DAYS", 400, least=1, most=36500)

INSTALLED_APPS = [
    "django.contrib.admin.apps.SimpleAdminConfig",  # urls.py looks for admin modules: a scheduled command never pays for them
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
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "core.middleware.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "iotapp.urls"
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
    """DATABASE_URL, or a SQLite file next to manage.py. Each kind gets the options it needs to take many writers."""
    url = environment.text("DATABASE_URL", f"sqlite:///{BASE_DIR / 'db.sqlite3'}")
    try:
        database: dict[str, Any] = dict(dj_database_url.parse(url))
    except ValueError as error:
        raise ImproperlyConfigured(
            f"DATABASE_URL cannot be read ({error}). Example: postgres://user:password@host:5432/name"
        ) from None
    options = database.setdefault("OPTIONS", {})
    if database["ENGINE"] == "django.db.backends.sqlite3":
        if ON_DYNO:
            raise ImproperlyConfigured(
                "SQLite on a Heroku dyno loses everything at each restart, and web and scheduler would not share it. "
                "Add PostgreSQL: heroku addons:create heroku-postgresql:essential-0"
            )
        options |= {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL"}
    elif database["ENGINE"] == "django.db.backends.postgresql":
        database["CONN_MAX_AGE"] = 0
        options.setdefault("connect_timeout", 10)
        options["pool"] = {
            "min_size": 1,
            "max_size": environment.whole("DATABASE_POOL_SIZE", 4, least=1, most=100),
            "timeout": 20,
        }
    else:
        raise ImproperlyConfigured("DATABASE_URL must name PostgreSQL (postgres://...) or SQLite (sqlite:///file).")
    return database


DATABASES = {"default": read_database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "core.User"
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

USE_TZ = True
TIME_ZONE = environment.text("TIME_ZONE", "UTC")
LANGUAGE_CODE = "en-gb"
USE_I18N = False

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
WHITENOISE_USE_FINDERS = DEBUG
WHITENOISE_AUTOREFRESH = DEBUG
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

# HTTPS everywhere but in development; HTTPS=0 is for a server in the house, such as http://pi.local.
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

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": environment.text("LOG_LEVEL", "WARNING").upper()},
}
