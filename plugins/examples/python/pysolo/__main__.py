"""The plugin's main."""

import concurrent.futures
import os
import queue
import sys
import threading

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

import consensus_pb2_grpc

from . import handshake, lifeline, logs, tls_front
from .errors import EXIT_BUG, EXIT_CONFIG, EXIT_OK
from .service import MAX_GROUPS, NAME, Service

_MAX_MESSAGE = 16 << 20
_HOST_GONE_GRACE = 0.7  # seconds; rule L4 gives the whole exit one
# Every open stream holds a thread: proposals, events, one subscription per group,
# the health of go-plugin; the rest is for calls.
_THREADS = MAX_GROUPS + 24


def main():
    """Serves until the broker says Stop, is gone, or something fails; returns the exit code."""
    if not handshake.check_cookie():
        sys.stderr.write("This is the consensus plugin %s. A quorate broker starts it; it cannot be run by hand.\n" % NAME)
        return EXIT_CONFIG
    if not handshake.major_offered():
        sys.stderr.write("%s speaks version 1 of the contract, which this broker does not.\n" % NAME)
        return EXIT_CONFIG
    lifeline.ignore_signals()
    logs.start()
    ends = queue.SimpleQueue()
    service = Service(ends.put)
    service.lifeline = lifeline.Lifeline(lambda why: _host_gone(service, ends, why))
    server = _serve(service, ends)
    code = ends.get()
    if code != EXIT_OK:
        threading.Event().wait(0.1)  # the answer with the reason is on its way
    server.stop(0)
    return code


def _serve(service, ends):
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(_THREADS),
        options=[("grpc.max_receive_message_length", _MAX_MESSAGE), ("grpc.max_send_message_length", _MAX_MESSAGE)])
    consensus_pb2_grpc.add_ConsensusServicer_to_server(service, server)
    serving = health.HealthServicer()
    serving.set("plugin", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(serving, server)
    server.add_generic_rpc_handlers((_controller(service, ends),))
    path, client = handshake.socket_path(), os.environ.get("PLUGIN_CLIENT_CERT")
    credentials = handshake.Credentials(client) if client else None
    inner = path + ".grpc" if credentials else path
    server.add_insecure_port("unix:" + inner)
    server.start()
    if credentials:
        tls_front.start(path, inner, credentials.context)
    handshake.announce(path, credentials)
    handshake.forget_environment()
    return server


def _controller(service, ends):
    """go-plugin's own way to ask for the end; its messages are empty."""

    def shutdown(request, context):
        service.stop()
        threading.Timer(0.1, ends.put, [EXIT_OK]).start()
        return b""

    return grpc.method_handlers_generic_handler(
        "plugin.GRPCController", {"Shutdown": grpc.unary_unary_rpc_method_handler(shutdown)})


def _host_gone(service, ends, why):
    logs.log("warn", "the host is gone: stepping down", reason=why)
    stopping = threading.Thread(target=service.stop, daemon=True)
    stopping.start()
    stopping.join(_HOST_GONE_GRACE)
    ends.put(EXIT_OK)


if __name__ == "__main__":
    try:
        exit_code = main()
    except Exception as e:  # the last line of defence: a bug has an exit code of its own
        logs.log("error", "the plugin has a bug", error=repr(e))
        exit_code = EXIT_BUG
    logs.flush(0.1)
    os._exit(exit_code)  # threads that wait on streams must not hold the process
