"""An avahi daemon on a simulated host, to look at what we announce through other eyes."""

from __future__ import annotations

from pathlib import Path

from tests.lan.network import BOUND_S, Host, until

BUS = """<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/> <allow own="*"/> <allow send_type="method_call"/>
    <allow send_destination="*"/> <allow receive_sender="*"/>
  </policy>
</busconfig>
"""
DAEMON = """[server]
host-name=avahi-test
allow-interfaces=eth0
enable-dbus=yes
[publish]
disable-publishing=no
publish-workstation=no
[wide-area]
enable-wide-area=no
"""
# Its directory for the socket and the process id is fixed, so it gets a /run of its own.
IN_A_RUN_OF_ITS_OWN = (
    "mount -t tmpfs tmpfs /run && mkdir /run/avahi-daemon && exec avahi-daemon --file={file} "
    "--no-drop-root --no-chroot --no-rlimits"
)


class Avahi:
    """An avahi daemon on a host, with a message bus of its own."""

    def __init__(self, host: Host, folder: Path) -> None:
        self._host = host
        self._bus = folder / "bus"
        self._address = f"unix:path={self._bus}"
        bus, daemon = folder / "bus.conf", folder / "avahi.conf"
        bus.write_text(BUS.format(socket=self._bus))
        daemon.write_text(DAEMON)
        host.start("dbus-daemon", f"--config-file={bus}", "--nofork", "--nopidfile")
        until(self._bus.exists, "the message bus did not start")
        host.start(
            "unshare", "--mount", "sh", "-c", IN_A_RUN_OF_ITS_OWN.format(file=daemon),
            DBUS_SYSTEM_BUS_ADDRESS=self._address,
        )  # fmt: skip
        until(lambda: self.browse("-at") is not None, "avahi did not start")

    def browse(self, *words: str) -> list[list[str]] | None:
        """What avahi-browse lists, a row of fields each; None while there is no daemon."""
        browser = self._host.start(
            "avahi-browse", "-p", *words, DBUS_SYSTEM_BUS_ADDRESS=self._address
        )
        text, _ = browser.communicate(timeout=BOUND_S)
        return None if browser.returncode else [row.split(";") for row in text.splitlines()]
