"""Sends UDP packets to an address and port, so many a second at most, and prints how many.

usage: flood.py ADDRESS PORT PACKETS RATE
"""

import socket
import sys
import time


def main():
    address, port, packets, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    # Not connected: what is rejected is no error of the next send.
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(packets):
        sender.sendto(b"flood", (address, port))
        # After the packet before, never to catch up: a machine under load makes it slower, and no bursts.
        time.sleep(1 / rate)
    print(packets)


if __name__ == "__main__":
    main()
