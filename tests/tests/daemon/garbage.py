"""Frames that no host sends, out of one interface, the same ones for the same seed.

usage: garbage.py DEVICE DESTINATION_MAC SEED COUNT

Prints {"sent": N}. Half of the frames are random bytes; the others begin as a packet that would be
forwarded, and are cut, prolonged, or changed in some bytes. Frames the kernel refuses to send
(too short for a link-layer header) are not counted.
"""

import json
import random
import socket
import struct
import sys

device, seed, count = sys.argv[1], int(sys.argv[3]), int(sys.argv[4])
mac = bytes.fromhex(sys.argv[2].replace(":", ""))
rng = random.Random(seed)
SOURCE_MAC = bytes.fromhex("020000000002")
SOURCE, DESTINATION = socket.inet_aton("10.0.0.2"), socket.inet_aton("192.168.0.2")
ETHER_TYPES = [0x0800, 0x0800, 0x0800, 0x86DD, 0x8100, 0x88A8, 0x0806, 0x88CC, 0x0003, 0xFFFF]


def checksum(header):
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet():
    """A packet with a correct header, odd in one way or another."""
    options = rng.randbytes(4 * rng.choice([0, 0, 0, 1, 5, 10]))
    payload = rng.randbytes(rng.choice([0, 1, 7, 8, 20, 60, 500, 1400]))
    words = 5 + len(options) // 4
    fragment = rng.choice([0, 0x4000, 0x2000, 0x1FFF, 0x8000, rng.getrandbits(16)])
    total = rng.choice([words * 4 + len(payload)] * 6 + [0, 19, words * 4, 65535])
    protocol = rng.choice([1, 6, 17, 17, 6, 2, 50, 132, 255])
    ttl = rng.choice([64, 64, 64, 1, 0, 255])
    source = rng.choice([SOURCE] * 4 + [b"\x7f\0\0\1", b"\0\0\0\0", b"\xff" * 4, b"\xe0\0\0\1"])
    target = rng.choice([DESTINATION] * 4 + [b"\x7f\0\0\1", b"\0\0\0\0", rng.randbytes(4)])
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0, total, 7, fragment, ttl, protocol, 0)
    head += source + target + options
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return head + payload


def frame():
    to = rng.choice([mac] * 5 + [b"\xff" * 6, b"\x01\0\x5e\0\0\1", rng.randbytes(6)])
    if rng.random() < 0.5:
        body = rng.randbytes(rng.randrange(0, 1500))
        ether_type = rng.choice(ETHER_TYPES)
    else:
        body, ether_type = bytearray(packet()), 0x0800
        for _ in range(rng.choice([0, 0, 1, 3])):
            body[rng.randrange(len(body))] = rng.randrange(256)
        body = bytes(body[: rng.randrange(len(body) + 1)]) if rng.random() < 0.4 else bytes(body)
    return to + SOURCE_MAC + struct.pack("!H", ether_type) + body[:1500]


sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sender.bind((device, 0))
sent = 0
for _ in range(count):
    try:
        sender.send(frame())
        sent += 1
    except OSError:
        pass
print(json.dumps({"sent": sent}))
