//! Flows, files and nonsense at random.

use proptest::prelude::*;

use super::super::super::{Packet, Tuple};
use super::super::*;
use super::{THEN_NS, conntrack, sealed, segment, taken, written};

/// A record's bytes that are mostly possible.
fn plausible() -> impl Strategy<Value = [u8; RECORD_BYTES]> {
    let protocols = prop::sample::select(vec![6_u8, 6, 6, 17, 1, 58, 47, 132, 89]);
    (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u8; 32]>(), protocols, any::<bool>()).prop_map(
        |(first, second, third, protocol, six)| {
            let mut bytes = [0; RECORD_BYTES];
            bytes[..96].copy_from_slice(&[first, second, third].concat());
            bytes[96..].copy_from_slice(&[second, third, first].concat()[7..][..RECORD_BYTES - 96]);
            bytes[0] = if six { 6 } else { 4 };
            bytes[1] = protocol;
            if !six {
                bytes[68..80].fill(0);
                bytes[84..96].fill(0);
            }
            bytes[23] %= 0x3b;
            for (at, limit) in [(6, 9), (7, 6), (8, 64), (9, 15), (10, 15), (11, 32), (12, 32)] {
                bytes[at] %= limit;
            }
            bytes[14] %= 15;
            bytes[15] %= 32;
            if protocol == 6 {
                bytes[6] += 1;
                bytes[8] |= bytes[8] >> 1 & 2;
                return bytes;
            }
            let marks = bytes[8] & 2;
            bytes[6..20].copy_from_slice(&[0, 5, marks, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            bytes[24..64].fill(0);
            match protocol {
                17 => bytes[24..26].copy_from_slice(&(u16::from(first[24]) * 7).to_le_bytes()),
                1 if !six => bytes[5] = 8,
                58 if six => bytes[5] = 128,
                47 => bytes[2..4].fill(0),
                132 => bytes[18] = 132,
                _ => {
                    bytes[2..6].fill(0);
                    bytes[18] = protocol;
                }
            }
            bytes
        },
    )
}

proptest! {
    #[test]
    fn what_is_read_is_what_was_written(records in prop::collection::vec(plausible(), 0..40)) {
        let flows: Vec<_> = records.iter().filter_map(|bytes| FlowRecord::decode(bytes).ok()).collect();
        // ICMPv6 within IPv4 has no tuple that could be turned round; few others may fail.
        prop_assert!(flows.len() + records.iter().filter(|bytes| bytes[..2] == [4, 58]).count() >= records.len());
        let mut table = conntrack(3, 64);
        table.set_time(THEN_NS);
        let mut expected: Vec<_> =
            flows.iter().filter(|flow| table.import(flow, 0).is_ok()).map(FlowRecord::encode).collect();
        expected.sort_unstable();
        let (header, again) = taken(&written(&table));
        prop_assert_eq!(header.expect("right").flows, expected.len() as u64);
        let mut again: Vec<_> = again.iter().map(FlowRecord::encode).collect();
        again.sort_unstable();
        // Lifetimes are whole ticks of 4 ms in a table.
        for record in &mut expected {
            record[20] &= !3;
            if record[1] == 17 {
                let ms = u16::from_le_bytes([record[24], record[25]]).next_multiple_of(4);
                record[24..26].copy_from_slice(&ms.to_le_bytes());
            }
        }
        expected.sort_unstable();
        prop_assert_eq!(again, expected);
    }

    #[test]
    fn a_record_that_is_read_is_written_as_it_was(bytes in plausible(), at in 0..RECORD_BYTES, value: u8) {
        let mut altered = bytes;
        altered[at] = value;
        for bytes in [bytes, altered] {
            if let Ok(record) = FlowRecord::decode(&bytes) {
                prop_assert_eq!(record.encode(), bytes);
            }
        }
    }

    #[test]
    fn no_flow_that_is_read_makes_the_tracker_stumble(
        bytes in plausible(),
        segments in prop::collection::vec((any::<bool>(), any::<u8>(), any::<[u32; 2]>(), any::<u16>()), 1..8),
        near: bool,
        liberal: bool,
    ) {
        let Ok(mut record) = FlowRecord::decode(&bytes) else { return Ok(()) };
        if liberal {
            record.believe_anywhere();
        }
        let mut table = conntrack(3, 64);
        table.set_time(THEN_NS);
        if table.import(&record, 0).is_err() {
            return Ok(());
        }
        let there = record.tuple();
        let back = there.inverted().expect("it can be turned round");
        // The sequence number stands where ICMP has its identifier: each may begin a flow.
        let flows_most = if matches!(there.protocol, 1 | 58) { 1 + segments.len() } else { 3 };
        for (reply, flags, [mut seq, mut ack], window) in segments {
            let Tuple { source, destination, source_port, destination_port, protocol } =
                if reply { back } else { there };
            if near {
                let [original, answer] = record.flow.sides;
                let (own, other) = if reply { (answer, original) } else { (original, answer) };
                (seq, ack) = (own.end.wrapping_add(seq % 3000), other.end.wrapping_sub(ack % 3000));
            }
            let mut l4 = segment([source_port, destination_port], flags, [seq, ack], &[]);
            l4[14..16].copy_from_slice(&window.to_be_bytes());
            let packet = Packet::new(source, destination, protocol, &l4);
                let tracked = table.track(&packet);
                let _ = table.confirm(&tracked);
        }
        prop_assert!(table.len() <= flows_most, "{} flows", table.len());
    }

    #[test]
    fn nonsense_is_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..600), depth in 0_usize..4, flows in 0_u64..7,
    ) {
        let right = [MAGIC.to_vec(), VERSION.to_le_bytes().to_vec(), flows.to_le_bytes().to_vec()].concat();
        let start = right[..[0, 8, 12, 20][depth]].to_vec();
        let (outcome, records) = taken(&[start, bytes].concat());
        prop_assert!(outcome.is_err() && records.is_empty());
    }

    #[test]
    fn nonsense_under_a_right_checksum_is_refused_or_possible(
        records in prop::collection::vec(any::<[u8; 32]>(), 0..6), possible in prop::collection::vec(plausible(), 0..3),
    ) {
        let mut body: Vec<u8> = possible.concat();
        body.extend(records.concat());
        body.truncate(body.len() / RECORD_BYTES * RECORD_BYTES);
        let flows = (body.len() / RECORD_BYTES) as u64;
        let header = [MAGIC.to_vec(), VERSION.to_le_bytes().to_vec(), flows.to_le_bytes().to_vec(), vec![0; 8]];
        let bytes = sealed([header.concat(), body, vec![0; 4]].concat());
        let (outcome, records) = taken(&bytes);
        match outcome {
            Ok(header) => prop_assert_eq!(header.flows, records.len() as u64),
            Err(error) => {
                let impossible = matches!(error, SnapshotError::Impossible { .. });
                prop_assert!(impossible);
                prop_assert!(records.is_empty());
            }
        }
    }
}
