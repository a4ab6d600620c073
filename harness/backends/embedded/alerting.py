"""How alerts come to a run of this machine: Alertmanager notifies a webhook that knows the run's secret."""

from __future__ import annotations

from harness.backends.alerts import Inbox
from harness.components.alert_receiver import AlertReceiver
from harness.components.alertmanager import Webhook
from harness.runtime.secret_files import SecretFiles


class Alerting:
    """The webhook before an inbox; it listens from the first `webhook` until `close`."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._secrets: SecretFiles | None = None
        self.receiver: AlertReceiver | None = None

    def webhook(self) -> Webhook:
        """Where Alertmanager is to send its notifications to, and with which secret."""
        self._secrets = SecretFiles()
        secret, path = self._secrets.new("alert-webhook")
        self.receiver = AlertReceiver(secret, self._inbox.take)
        self.receiver.start()
        return Webhook(self.receiver.url, path)

    def close(self) -> None:
        if self.receiver is not None:
            self.receiver.stop()
        if self._secrets is not None:
            self._secrets.close()
