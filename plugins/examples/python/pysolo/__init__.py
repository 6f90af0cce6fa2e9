"""A consensus backend for Quorate in Python: one node, a log on one disk.

It is there to be read by whoever writes a backend in a language other than Go:
docs/plugins tells the rules, this obeys them. Everything that consensus/sdk does
for authors in Go is in these files:

    handshake.py   cookie, protocol version, AutoMTLS, the line on stdout
    tls_front.py   TLS that can do P-521, in front of gRPC
    logs.py        JSON lines on stderr that outlive a dead broker
    lifeline.py    the broker's death: pipe, parent, lease; exit codes
    data_dir.py    LOCK and META.json
    journal.py     the log file: what is durable, what is torn, what is damaged
    snapshots.py   snapshot files, visible whole or not at all
    group.py       one replicated log: term, proposals, delivery
    service.py     the RPCs
    __main__.py    puts them together
"""
