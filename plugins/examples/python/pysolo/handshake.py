"""The handshake with the broker; docs/plugins/handshake.md has it in words."""

import base64
import datetime
import os
import sys
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from . import tls_front

COOKIE_KEY = "QUORATE_CONSENSUS_PLUGIN"
COOKIE_VALUE = "5f6e2b5c-8a1d-4a55-9c3e-quorate-consensus"
CORE_PROTOCOL = 1  # go-plugin's own version, the first field
MAJOR = 1  # of the contract, the second field


def check_cookie():
    """Tells a plugin that a broker started from one that somebody started by hand."""
    return os.environ.get(COOKIE_KEY) == COOKIE_VALUE


def major_offered():
    """Whether the broker speaks the only major version that this plugin does."""
    offered = os.environ.get("PLUGIN_PROTOCOL_VERSIONS", str(MAJOR)).split(",")
    return str(MAJOR) in offered


def socket_path():
    """A new name in the directory that the broker has made for its sockets."""
    directory = os.environ.get("PLUGIN_UNIX_SOCKET_DIR") or tempfile.mkdtemp(prefix="quorate-")
    return os.path.join(directory, "plugin%d" % os.getpid())


class Credentials:
    """Both halves of AutoMTLS: what the server needs, and what the broker must be told."""

    def __init__(self, client_pem):
        key = ec.generate_private_key(ec.SECP521R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        now = datetime.datetime.now(datetime.timezone.utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=3650))
            # The broker takes this very certificate for its only authority.
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(key, hashes.SHA256())
        )
        pem, der = serialization.Encoding.PEM, serialization.Encoding.DER
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        # Base64 without padding: what Go calls RawStdEncoding.
        self.field = base64.b64encode(certificate.public_bytes(der)).decode().rstrip("=")
        self.context = tls_front.context(certificate.public_bytes(pem), private, client_pem)


def announce(path, credentials):
    """Writes the one line that stdout is for, and takes stdout away from everybody."""
    field = credentials.field if credentials else ""
    sys.stdout.write("%d|%d|unix|%s|grpc|%s\n" % (CORE_PROTOCOL, MAJOR, path, field))
    sys.stdout.flush()
    sys.stdout = sys.stderr


def forget_environment():
    """What this process may start must not take itself for the broker's plugin."""
    for key in (COOKIE_KEY, "PLUGIN_CLIENT_CERT", "QUORATE_PLUGIN_HOST_FD"):
        os.environ.pop(key, None)
