// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
//
// weirgen's second way to send: frames that a program run (BPF_PROG_TEST_RUN with
// BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18) makes out of pages of its own and redirects to a device.
//
// What is sent is made by user space, in `slots`, which it has mapped: the run's n-th frame becomes
// a copy of slot n. So the frames are those of the other engine to the last byte, and this program
// knows nothing of packets.
//
// `watch_xmit` looks at what became of them. A device that has no room lets frames fall and tells nobody but
// the tracepoint: of each bulk the last ones. It notes every bulk, in order, so that user space
// knows which frames are on their way.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define SLOTS 512
#define FRAME_BYTES_MAX 2040
// The kernel's bulks have 16 frames (DEV_MAP_BULK_SIZE); each is noted, also if they were of one.
#define BULKS SLOTS

// The device on which runs without another one are said to arrive: loopback.
#define LOOPBACK_IFINDEX 1

struct slot {
    __u32 len;
    __u32 unused;
    __u8 bytes[FRAME_BYTES_MAX];
};

struct bulk {
    __u32 sent;
    __u32 dropped;
};

// Only one thread uses a loaded instance, and the program runs in its system call: no locks.
struct slot slots[SLOTS];
struct bulk bulks[BULKS];
__u32 bulk_count;
// The next slot, and how many there are of this run.
__u32 next_slot;
__u32 slot_count;
// Frames that could not be made.
__u32 failed;
// The device, and the thread whose run it is.
__u32 ifindex;
__u32 thread_id;

SEC("xdp")
int send_slot(struct xdp_md *context)
{
    __u32 at = next_slot;

    if (at >= slot_count || at >= SLOTS) {
        failed++;
        return XDP_DROP;
    }
    next_slot = at + 1;
    struct slot *slot = &slots[at];
    __u32 len = slot->len;
    __s32 change = (__s32)len - (__s32)(context->data_end - context->data);

    if (len == 0 || len > FRAME_BYTES_MAX)
        goto fail;
    if (change != 0 && bpf_xdp_adjust_tail(context, change))
        goto fail;
    if (bpf_xdp_store_bytes(context, 0, slot->bytes, len))
        goto fail;
    return bpf_redirect(ifindex, 0);
fail:
    failed++;
    return XDP_DROP;
}

// What the tracepoint's program reads of a device; the offset comes from the running kernel's BTF.
struct net_device {
    int ifindex;
} __attribute__((preserve_access_index));

SEC("tp_btf/xdp_devmap_xmit")
int watch_xmit(__u64 *arguments)
{
    const struct net_device *from = (const struct net_device *)arguments[0];
    const struct net_device *to = (const struct net_device *)arguments[1];
    __u32 at = bulk_count;

    if (thread_id == 0 || (__u32)bpf_get_current_pid_tgid() != thread_id)
        return 0;
    if (from->ifindex != LOOPBACK_IFINDEX || (__u32)to->ifindex != ifindex || at >= BULKS)
        return 0;
    bulks[at].sent = (__u32)arguments[2];
    bulks[at].dropped = (__u32)arguments[3];
    bulk_count = at + 1;
    return 0;
}

char _license[] SEC("license") = "Dual MIT/GPL";
