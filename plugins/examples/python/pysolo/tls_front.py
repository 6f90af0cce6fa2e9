"""TLS in front of gRPC's own socket.

The broker's certificate is of P-521, and the BoringSSL inside PyPI's grpcio does
not offer ecdsa_secp521r1_sha512 when it asks a client for one (as of 1.85; there
is no setting for it). Python's own ssl module, on OpenSSL, does. So TLS ends here,
and the bytes go on to a socket in the same directory, which only this user enters.
"""

import asyncio
import os
import ssl
import tempfile
import threading

_BUFFER = 256 << 10


def context(certificate_pem, key_pem, client_pem):
    """TLS 1.3 and 1.2 for HTTP/2; the client's certificate is its only authority."""
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.verify_mode = ssl.CERT_REQUIRED
    ctx.load_verify_locations(cadata=client_pem)
    ctx.set_alpn_protocols(["h2"])
    with tempfile.NamedTemporaryFile() as f:  # the module takes keys from files only
        f.write(key_pem + certificate_pem)
        f.flush()
        ctx.load_cert_chain(f.name)
    return ctx


def start(path, inner, ctx):
    """Listens on path, and returns once it does; connections go on to inner."""
    listening = threading.Event()
    threading.Thread(target=lambda: asyncio.run(_serve(path, inner, ctx, listening)), name="tls", daemon=True).start()
    listening.wait()


async def _serve(path, inner, ctx, listening):
    async def connected(reader, writer):
        try:
            back = await asyncio.open_unix_connection(inner, limit=_BUFFER)
        except OSError:
            return writer.close()
        await asyncio.gather(_pump(reader, back[1]), _pump(back[0], writer))

    server = await asyncio.start_unix_server(connected, path, ssl=ctx, limit=_BUFFER)
    os.chmod(path, 0o600)
    listening.set()
    await server.serve_forever()


async def _pump(reader, writer):
    """Copies until one side ends; a slow reader is waited for."""
    try:
        while data := await reader.read(_BUFFER):
            writer.write(data)
            await writer.drain()
    except (OSError, ssl.SSLError):
        pass  # an end like any other
    finally:
        writer.close()
