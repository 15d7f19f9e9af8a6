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
    # To sleep takes some tenths of a millisecond, however little is asked for.
    burst = max(1, rate // 500)
    for number in range(1, packets + 1):
        sender.sendto(b"flood", (address, port))
        # After the packet before, never to catch up: a machine under load makes it slower.
        if number % burst == 0:
            time.sleep(burst / rate)
    print(packets)


if __name__ == "__main__":
    main()
