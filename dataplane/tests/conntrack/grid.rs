//! Every state of a TCP connection, met by every class of segment, from both sides, at the edges of the window.

use crate::shot::{ACK, Event, FIN, RST, SYN, Sequence, Shot, Side, Tcp};

pub(crate) const EAST: u32 = 1_000_000;
pub(crate) const WEST: u32 = 2_000_000;
const WINDOW: u16 = 5000;

/// A segment as the hand that leads a connection into a state writes it: from where, flags, both numbers.
type Step = (Side, u8, u32, u32);

/// Ways into each state, and what the sides then send next.
fn prefixes() -> Vec<(&'static str, Vec<Step>, [u32; 2])> {
    let (east, west) = (Side::East, Side::West);
    let syn = (east, SYN, 0, 0);
    let syn_ack = (west, SYN | ACK, 0, 1);
    let open = vec![syn, syn_ack, (east, ACK, 1, 1)];
    let and = |steps: &[Step], more: &[Step]| [steps, more].concat();
    let east_fin = (east, FIN | ACK, 1, 1);
    let west_fin = (west, FIN | ACK, 1, 1);
    let fin = and(&open, &[east_fin]);
    let acked = and(&fin, &[(west, ACK, 1, 2)]);
    let both = and(&acked, &[(west, FIN | ACK, 1, 2)]);
    let closed = and(&both, &[(east, ACK, 2, 2)]);
    vec![
        ("none", vec![], [0, 0]),
        ("SYN_SENT", vec![syn], [1, 0]),
        ("SYN_SENT, challenged", vec![syn, (west, ACK, 777, 555)], [1, 777]),
        ("SYN_RECV", vec![syn, syn_ack], [1, 1]),
        ("SYN_SENT2", vec![syn, (west, SYN, 0, 0)], [1, 1]),
        ("SYN_RECV of both", vec![syn, (west, SYN, 0, 0), (east, SYN | ACK, 0, 1)], [1, 1]),
        ("ESTABLISHED", open.clone(), [1, 1]),
        ("ESTABLISHED, picked up", vec![(east, ACK, 1, 1)], [1, 1]),
        ("ESTABLISHED, both picked up", vec![(east, ACK, 1, 1), (west, ACK, 1, 1)], [1, 1]),
        ("ESTABLISHED, SYN ignored", and(&open, &[(east, SYN, 9000, 0)]), [1, 1]),
        ("ESTABLISHED, SYN/ACK ignored", and(&open, &[syn_ack]), [1, 1]),
        ("FIN_WAIT", fin.clone(), [2, 1]),
        ("FIN_WAIT of the other", and(&open, &[west_fin]), [1, 2]),
        ("CLOSE_WAIT", acked.clone(), [2, 1]),
        ("LAST_ACK", both.clone(), [2, 2]),
        ("LAST_ACK, SYN ignored", and(&both, &[(east, SYN, 9000, 0)]), [2, 2]),
        ("TIME_WAIT", closed.clone(), [2, 2]),
        ("TIME_WAIT, SYN/ACK ignored", and(&closed, &[syn_ack]), [2, 2]),
        ("CLOSE", and(&open, &[(east, RST, 1, 0)]), [1, 1]),
        ("CLOSE by the other", and(&open, &[(west, RST, 1, 0)]), [1, 1]),
        ("CLOSE after FIN", and(&fin, &[(west, RST, 1, 0)]), [2, 1]),
    ]
}

fn event((side, flags, seq, ack): Step) -> Event {
    let bases = [EAST, WEST];
    let ack = if flags & ACK == 0 { 0 } else { bases[side.other() as usize].wrapping_add(ack) };
    let seq = bases[side as usize].wrapping_add(seq);
    Event::Shot(segment(side, flags, seq, ack))
}

fn segment(side: Side, flags: u8, seq: u32, ack: u32) -> Shot {
    let tcp = Tcp { ports: [40_000, 80], seq, ack, flags, window: WINDOW, ..Tcp::default() };
    Shot::tcp(side, tcp)
}

/// All of them.
pub(crate) fn grid() -> Vec<Sequence> {
    let all_flags = [SYN, SYN | ACK, FIN | ACK, ACK, RST, RST | ACK, 0];
    let mut sequences = Vec::new();
    for (state, steps, next) in prefixes() {
        for side in Side::BOTH {
            for flags in all_flags {
                for (seq, ack) in numbers(side, next) {
                    let mut events: Vec<Event> = steps.iter().copied().map(event).collect();
                    events.push(Event::Shot(segment(side, flags, seq, ack)));
                    // Its consequences.
                    let [east, west] = next;
                    events.push(event((Side::West, ACK, west, east)));
                    events.push(event((Side::East, ACK, east, west)));
                    let syn_ack = segment(side.other(), SYN | ACK, 0x1234_5678, seq.wrapping_add(1));
                    events.push(Event::Shot(syn_ack));
                    events.push(event((side, RST, next[side as usize], 0)));
                    let name = format!("grid: {state}, {side:?}");
                    sequences.push(Sequence { name, events });
                }
            }
        }
    }
    sequences
}

/// Sequence numbers and acknowledgments: as they should be, at the edges, and beyond.
fn numbers(side: Side, next: [u32; 2]) -> Vec<(u32, u32)> {
    let bases = [EAST, WEST];
    let absolute = |side: Side| bases[side as usize].wrapping_add(next[side as usize]);
    let (seq, ack) = (absolute(side), absolute(side.other()));
    let window = u32::from(WINDOW);
    let seqs = [
        seq,
        seq.wrapping_sub(1),
        seq + 1,
        seq + window,
        seq + window + 1,
        seq.wrapping_sub(window + 2),
        seq.wrapping_add(0x8000_0000),
        0,
    ];
    let acks = [ack, ack + 1, ack - 66_001, 0];
    // Each with the other as it should be, and the worst of both.
    let mut numbers: Vec<(u32, u32)> = seqs.iter().map(|seq| (*seq, ack)).collect();
    numbers.extend(acks[1..].iter().map(|ack| (seq, *ack)));
    numbers.extend([(seq + 1, ack + 1), (seq - 1, 0), (0, 0), (0, seq), (seq, seq - 1)]);
    numbers
}
