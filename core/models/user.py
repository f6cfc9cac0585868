from django.contrib.auth.models import AbstractUser


class User(AbstractUser):
    """Our own user from the first migration on: changing to one later is a migration nobody enjoys."""
