"""Counts the UDP packets that come to a port until none has come for a while, and prints how many.

usage: sink.py PORT SECONDS
"""

import socket
import sys


def main():
    port, patience = int(sys.argv[1]), float(sys.argv[2])
    sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sink.bind(("", port))
    print("ready", flush=True)
    # The first may take its time: its sender has to start.
    sink.settimeout(20)
    count = 0
    try:
        while True:
            sink.recv(64)
            count += 1
            sink.settimeout(patience)
    except TimeoutError:
        print(count, flush=True)


if __name__ == "__main__":
    main()
