"""Sends frames from one namespace through a kernel router and reports what comes out.

usage: driver.py NETNS:DEVICE (sender) NETNS:DEVICE (far side) FENCE_HEX

stdin, a line a case:   frame_hex
stdout, a line a case:  the IPv4 packets seen on either side before the fence's answer, in hex
A frame "wait:<hex>" has a delayed answer: the first packet seen is the answer, there is no fence.

The fence is a packet whose answer is certain. The kernel handles packets from one CPU in order,
so once the fence is answered no answer to the frame before it is still to come: no test waits
for "nothing".
"""

import ctypes
import os
import select
import socket
import sys

CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
FENCE_IDENTIFICATION = b"\xfe\xed"
DEADLINE_S = 20


def open_in(place):
    """A raw socket on a device of another namespace; a socket stays where it was made."""
    namespace, device = place.split(":")
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open("/run/netns/" + namespace, os.O_RDONLY)
    if libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns " + namespace)
    os.close(fd)
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    raw.bind((device, ETH_P_ALL))
    return raw


def arrived(sockets):
    """All IPv4 packets that are there, without link header and padding. Waits for one frame."""
    ready, _, _ = select.select(sockets, [], [], DEADLINE_S)
    if not ready:
        sys.exit("no answer to the fence within %d s" % DEADLINE_S)
    found = []
    for raw in ready:
        while True:
            try:
                frame, sender = raw.recvfrom(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            if sender[2] != socket.PACKET_OUTGOING and frame[12:14] == b"\x08\x00":
                found.append(frame[14 : 14 + int.from_bytes(frame[16:18], "big")])
    return found


def is_fence(packet):
    """An error quotes the fence's header behind its own 28 bytes."""
    return packet[20:21] == b"\x0b" and packet[32:34] == FENCE_IDENTIFICATION


def answers(near, far, wait):
    """What came before the fence's answer, or the first that comes."""
    seen = []
    while True:
        seen += arrived([near, far])
        if wait and seen:
            return seen
        if any(map(is_fence, seen)):
            # What was forwarded arrived before the fence's answer, but on the other socket.
            while select.select([far], [], [], 0)[0]:
                seen += arrived([far])
            return [packet for packet in seen if not is_fence(packet)]


def main():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    near, far = open_in(sys.argv[1]), open_in(sys.argv[2])
    fence = bytes.fromhex(sys.argv[3])
    for line in sys.stdin:
        wait = line.startswith("wait:")
        near.send(bytes.fromhex(line.removeprefix("wait:")))
        if not wait:
            near.send(fence)
        print(" ".join(packet.hex() for packet in answers(near, far, wait)), flush=True)


main()
