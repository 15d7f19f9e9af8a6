"""One UDP datagram, and the ICMP error that came back for it, as one line of JSON.

usage: probe.py DESTINATION TTL BYTES df|fragment

The kernel reports errors on the socket's own queue (ip(7), IP_RECVERR), so nothing of somebody
else's is ever taken for ours. No answer: {}.
"""

import json
import select
import socket
import struct
import sys

IP_RECVERR, IP_MTU_DISCOVER, PMTUDISC_DONT, PMTUDISC_PROBE = 11, 10, 0, 3
WAIT_MS = 8000

destination, ttl, size, df = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
discover = PMTUDISC_PROBE if df == "df" else PMTUDISC_DONT
sender.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, discover)
sender.connect((destination, 33434))
sender.send(bytes(size))

poll = select.poll()
poll.register(sender, 0)
answer = {}
if poll.poll(WAIT_MS):
    _, ancillary, _, _ = sender.recvmsg(0, 512, socket.MSG_ERRQUEUE)
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, IP_RECVERR):
            # struct sock_extended_err, then struct sockaddr_in of the offender (linux/errqueue.h).
            _, _, icmp_type, icmp_code, _, info, _ = struct.unpack("=IBBBBII", data[:16])
            offender = socket.inet_ntoa(data[20:24])
            answer = {"from": offender, "type": icmp_type, "code": icmp_code, "info": info}
print(json.dumps(answer))
