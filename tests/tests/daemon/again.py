"""Connects to port 80 of a host from one port again and again, each time with a smaller sequence number, and reads what
it says until it closes.

usage: again.py ADDRESS PORT COUNT; prints {"heard": [TEXT..]}
"""

import errno
import json
import socket
import struct
import sys
import time

TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ = 19, 20, 21
OFF, ON, SEND_QUEUE = -1, 1, 2


def connect(address, port, first):
    # Until the last connection's FIN is acknowledged the port is not free.
    until = time.monotonic() + 20
    while True:
        client = socket.socket()
        # A socket that has never been connected begins with the number that it is told here (tcp_v4_connect).
        client.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, ON)
        client.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, SEND_QUEUE)
        client.setsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ, struct.pack("I", first))
        client.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, OFF)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.settimeout(20)
        client.bind(("", port))
        try:
            client.connect((address, 80))
            return client
        except OSError as error:
            client.close()
            if error.errno != errno.EADDRNOTAVAIL or time.monotonic() > until:
                raise
        time.sleep(0.01)


def main():
    address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    heard = []
    for number in range(count):
        with connect(address, port, 3_000_000_000 - number * 50_000_000) as client:
            text = b""
            while chunk := client.recv(100):
                text += chunk
            heard.append(text.decode())
    print(json.dumps({"heard": heard}))


main()
