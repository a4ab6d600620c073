"""Certificates for servers inside a cluster, of a CA that is made for them and forgotten."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate

DAYS = 365


@dataclass(frozen=True)
class Issued:
    """PEM texts."""

    ca: bytes
    certificate: bytes
    key: bytes


def secret(name: str, namespace: str, issued: Issued, labels: Mapping[str, str]) -> dict[str, Any]:
    """A kubernetes.io/tls Secret with the CA in it."""
    data = {"ca.crt": issued.ca, "tls.crt": issued.certificate, "tls.key": issued.key}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "type": "kubernetes.io/tls",
        "data": {key: encoded(value) for key, value in data.items()},
    }


def encoded(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


def issue(servers: Mapping[str, Sequence[str]]) -> dict[str, Issued]:
    """A certificate for each of the servers (name -> DNS names), all of one new CA."""
    ca_key, ca = _authority()
    return {name: _server(names, ca_key, ca) for name, names in servers.items()}


def _authority() -> tuple[EllipticCurvePrivateKey, Certificate]:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("rehearsal-ca")
    builder = _builder(name, name, key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return key, _signed(builder, key)


def _server(names: Sequence[str], ca_key: EllipticCurvePrivateKey, ca: Certificate) -> Issued:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = ec.generate_private_key(ec.SECP256R1())
    alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = _builder(_name(names[0]), ca.subject, key)
    builder = builder.add_extension(alternative, critical=False).add_extension(usage, critical=False)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Issued(ca.public_bytes(pem), _signed(builder, ca_key).public_bytes(pem), private)


def _name(text: str) -> Any:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _builder(subject: Any, issuer: Any, key: EllipticCurvePrivateKey) -> Any:
    from cryptography import x509

    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=DAYS))
    )


def _signed(builder: Any, key: EllipticCurvePrivateKey) -> Certificate:
    from cryptography.hazmat.primitives import hashes

    signed: Certificate = builder.sign(key, hashes.SHA256())
    return signed
