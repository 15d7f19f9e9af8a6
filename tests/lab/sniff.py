"""Tells which of the trojan's packets pass an interface: one line of JSON for each.

Usage: sniff.py INTERFACE incoming|outgoing

It reads an AF_PACKET socket, so it sees what is on the wire before any firewall of this machine.
The kernel hands it only what has the size of the trojan's packets: a download that passes by must
not fill the socket while the machine is busy, for then packets would be missed.
A UDP packet that leaves with the text "weir fence N" is answered by a line {"fence": N}: whoever
sent it then knows that everything that came before has been told.
"""

import ctypes
import json
import socket
import struct
import sys

# What all the trojan's versions have in common: mal4 spells the word before it differently.
MARK = b"system time of Bob's particle accelerator is: "
FENCE = b"weir fence "

ETH_P_ALL = 0x0003  # linux/if_ether.h
PACKET_OUTGOING = 4  # linux/if_packet.h
SO_ATTACH_FILTER = 26  # asm-generic/socket.h
ETHERNET_LEN = 14
PROTOCOL_TCP = 6
PROTOCOL_UDP = 17

# From the lowest bit, RFC 9293 section 3.1.
FLAGS = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"]

# The total length of a TCP packet worth a look: from bare headers with the text, up to headers full
# of options with the text and much around it. Bare acknowledgements are shorter, data is longer.
LEN_MIN = 20 + 20 + len(MARK)
LEN_MAX = 576

# The same for the kernel: classic BPF, (code, offset if true, offset if false, value) a line.
FILTER = [
    (0x28, 0, 0, 12),  # load the EtherType
    (0x15, 0, 6, 0x0800),  # IPv4, or drop
    (0x30, 0, 0, ETHERNET_LEN + 9),  # load the protocol
    (0x15, 5, 0, PROTOCOL_UDP),  # UDP: take
    (0x15, 0, 3, PROTOCOL_TCP),  # TCP, or drop
    (0x28, 0, 0, ETHERNET_LEN + 2),  # load the total length
    (0x25, 1, 0, LEN_MAX),  # longer: drop
    (0x35, 1, 0, LEN_MIN),  # long enough: take
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # take
]


def attach_filter(sniffer):
    """Gives the kernel the filter."""
    code = b"".join(struct.pack("=HBBI", *line) for line in FILTER)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(FILTER), ctypes.addressof(buffer))
    sniffer.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def parse(frame):
    """The protocol, destination address and transport part of an IPv4 frame; None for others."""
    if len(frame) < ETHERNET_LEN + 20 or frame[12:14] != b"\x08\x00":
        return None
    packet = frame[ETHERNET_LEN:]
    header_len = (packet[0] & 0x0F) * 4
    total_len = struct.unpack_from("!H", packet, 2)[0]
    return packet[9], socket.inet_ntoa(packet[16:20]), packet[header_len:total_len]


def leak(destination, segment):
    """What is told about a TCP segment that carries the trojan's text; None for others."""
    if len(segment) < 20:
        return None
    payload = segment[(segment[12] >> 4) * 4 :]
    if MARK not in payload:
        return None
    source_port, destination_port = struct.unpack_from("!HH", segment)
    flags = [name for bit, name in enumerate(FLAGS) if segment[13] >> bit & 1]
    return {
        "destination": destination,
        "source_port": source_port,
        "destination_port": destination_port,
        "flags": ", ".join(flags),
        "payload": payload.decode("latin-1"),
    }


def main():
    interface, direction = sys.argv[1:]
    wanted_outgoing = {"incoming": False, "outgoing": True}[direction]
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    attach_filter(sniffer)
    sniffer.bind((interface, 0))
    print("ready", flush=True)
    while True:
        frame, address = sniffer.recvfrom(65536)
        outgoing = address[2] == PACKET_OUTGOING
        parsed = parse(frame)
        if parsed is None:
            continue
        protocol, destination, transport = parsed
        if protocol == PROTOCOL_UDP and outgoing and transport[8:].startswith(FENCE):
            print(json.dumps({"fence": int(transport[8 + len(FENCE) :])}), flush=True)
        elif protocol == PROTOCOL_TCP and outgoing == wanted_outgoing:
            told = leak(destination, transport)
            if told is not None:
                print(json.dumps({"leak": told}), flush=True)


main()
