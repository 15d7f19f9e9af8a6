"""The kernel's end of this test: a router with three TUN devices in the network namespace it runs in
(a fresh one: the caller starts it by `unshare -n`), asked by messages: one byte what, four bytes
length, body; answered by four bytes length, body. All numbers little-endian.

  r  iptables-restore text                        -> nothing
  s  lines "name value" of nf_conntrack_* sysctls -> nothing
  p  packets: device 1, length 2, bytes           -> a time 8 for each, then what came out: device 1, its
                                                     bytes from the second (TOS) to the sixth
  d                                               -> a time 8, then a dump of the entries: netlink messages
  f                                               -> nothing; all entries are gone

Times are CLOCK_MONOTONIC in ns: just before the packet was sent, just before the dump.
"""

import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import time

NAMES = ["east", "west", "copy"]
NETWORKS = ["10.64.0.0/10", "10.128.0.0/10", "10.9.0.0/16"]
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
QUEUE = 10000
LATEST_MS = 5000
NETLINK_NETFILTER, GET, DELETE = 12, 0x101, 0x102
REQUEST, ACK, DUMP = 1, 4, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3


def run(*words, **options):
    done = subprocess.run(words, capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: {done.stderr}")


def setting(path, value):
    with open(f"/proc/sys/net/{path}", "w", encoding="ascii") as file:
        file.write(value)


def device(name, network):
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    setting(f"ipv6/conf/{name}/disable_ipv6", "1")
    for name_of_setting in ("rp_filter", "send_redirects"):
        setting(f"ipv4/conf/{name}/{name_of_setting}", "0")
    run("ip", "link", "set", name, "up", "txqueuelen", str(QUEUE), "mtu", "9000")
    run("ip", "route", "add", network, "dev", name)
    return tun


def drain(tuns, out):
    """Reads what has come out. Returns how many packets."""
    found, read = 0, os.read
    for number, tun in enumerate(tuns):
        while True:
            try:
                packet = read(tun, 65536)
            except BlockingIOError:
                break
            out.append(number)
            out += packet[1:6]
            found += 1
    return found


def packets(body, tuns):
    """Sends all, and reads until as many have come out: mostly the kernel forwards within the write, but
    if it is busy, later."""
    times, out, at = bytearray(), bytearray(), 0
    clock, write = time.monotonic_ns, os.write
    waiting = select.poll()
    for tun in tuns:
        waiting.register(tun, select.POLLIN)
    while at < len(body):
        sent = 0
        while at < len(body) and sent < QUEUE // 2:
            number, length = body[at], body[at + 1] | body[at + 2] << 8
            times += clock().to_bytes(8, "little")
            try:
                write(tuns[number], body[at + 3 : at + 3 + length])
            except OSError as error:
                sys.exit(f"not sent: {error}: {bytes(body[at + 3 : at + 3 + length]).hex()}")
            at += 3 + length
            sent += 1
        sent -= drain(tuns, out)
        while sent > 0 and waiting.poll(LATEST_MS):
            sent -= drain(tuns, out)
    return bytes(times + out)


def ask(netlink, kind, flags):
    """All messages that answer."""
    netlink.send(struct.pack("=IHHIIBBH", 20, kind, REQUEST | flags, 1, 0, socket.AF_INET, 0, 0))
    found = []
    while True:
        part = netlink.recv(1 << 18)
        found.append(part)
        at = 0
        while at < len(part):
            length, kind = struct.unpack_from("=IH", part, at)
            if kind == NLMSG_ERROR and struct.unpack_from("=i", part, at + 16)[0]:
                sys.exit(f"netlink: error {struct.unpack_from('=i', part, at + 16)[0]}")
            if kind in (NLMSG_ERROR, NLMSG_DONE):
                return b"".join(found)
            at += (length + 3) & ~3


def answer(kind, body, tuns, netlink):
    if kind == b"r":
        run("iptables-legacy-restore", input=body.decode())
    elif kind == b"s":
        for line in body.decode().splitlines():
            name, value = line.split()
            setting(f"netfilter/nf_conntrack_{name}", value)
    elif kind == b"p":
        return packets(memoryview(body), tuns)
    elif kind == b"d":
        return time.monotonic_ns().to_bytes(8, "little") + ask(netlink, GET, DUMP)
    else:
        ask(netlink, DELETE, ACK)
    return b""


def main():
    for place in ("all", "default"):
        setting(f"ipv4/conf/{place}/rp_filter", "0")
        setting(f"ipv4/conf/{place}/send_redirects", "0")
    setting("ipv4/ip_forward", "1")
    tuns = [device(name, network) for name, network in zip(NAMES, NETWORKS)]
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    netlink.bind((0, 0))
    netlink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    asked, told = sys.stdin.buffer, sys.stdout.buffer
    while kind := asked.read(1):
        body = asked.read(int.from_bytes(asked.read(4), "little"))
        found = answer(kind, body, tuns, netlink)
        told.write(len(found).to_bytes(4, "little") + found)
        told.flush()


main()
