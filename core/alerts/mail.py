"""Mail, by the server of EMAIL_URL. Its Message-ID is the same when it is sent again."""

from collections.abc import Sequence
from urllib.parse import unquote

from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.validators import validate_email

from core import alerts
from core.alerts import Message
from core.net.addresses import Network
from core.net.errors import ApiError, ApiRefused
from core.tasks.mail import MailAway, Mailer


class Channel(alerts.Channel):
    schemes = ("mailto",)
    example = "mailto:me@example.org"

    def __init__(self, address: str, networks: Sequence[Network]) -> None:
        super().__init__(address, networks)
        self.to = unquote(address.partition(":")[2])
        try:
            validate_email(self.to)
        except ValidationError:
            raise ValueError(f"A mail address looks like {self.example}.") from None

    @property
    def name(self) -> str:
        return f"mail to {self.to}"

    def send(self, message: Message) -> None:
        text = "\n\n".join(filter(None, [message.text or message.title, message.link]))
        headers = {"Message-ID": f"<{message.id}@{self.to.rpartition('@')[2]}>"}
        mail = EmailMessage(message.title, f"{text}\n", to=[self.to], headers=headers)
        try:
            with Mailer() as mailer:
                refused = mailer.send(mail)
        except MailAway as error:
            raise ApiError(str(error)) from None
        if refused:
            raise ApiRefused(f"The mail server refuses it: {refused.why}")
