from django.contrib.auth.models import AbstractUser


class User(AbstractUser):
    """A user as Django has it. The model cannot be replaced later: that is why it is our own."""
