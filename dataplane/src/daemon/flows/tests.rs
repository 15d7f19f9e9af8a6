use std::net::IpAddr;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::conntrack::snapshot::FlowRecord;
use crate::conntrack::{Packet, Tuple};

fn config(seed: u64, workers: usize) -> ConntrackConfig {
    let flow_hash = FlowHash::new([seed, 2, 3, 4], workers);
    ConntrackConfig { flows_max: 256, flow_hash, ..ConntrackConfig::default() }
}

fn hosts() -> (IpAddr, IpAddr) {
    ([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
}

/// A table with the first segments of some connections.
fn filled(connections: u16) -> Vec<Conntrack> {
    let sizes = config(1, 1);
    let settings = crate::conntrack::Settings { checksum: false, ..sizes.settings };
    let mut table = Conntrack::new(&ConntrackConfig { settings, ..sizes });
    let (source, destination) = hosts();
    for port in 0..connections {
        let mut l4 = [0; 20];
        l4[..2].copy_from_slice(&port.to_be_bytes());
        (l4[12], l4[13]) = (5 << 4, 2);
        let packet = Packet::new(source, destination, 6, &l4);
        let tracked = table.track(&packet);
        table.confirm(&tracked).expect("room");
    }
    vec![table]
}

fn tuple(source_port: u16) -> Tuple {
    let (source, destination) = hosts();
    Tuple { source, destination, source_port, destination_port: 0, protocol: 6 }
}

/// The start of two workers; how many flows they have, and what was warned of.
fn start(path: &Path) -> (usize, Vec<String>) {
    let (tables, restored) = tables(&config(9, 2), 2, Some(path), OnExit::Drop);
    assert_eq!(tables.len(), 2);
    (tables.iter().map(Conntrack::len).sum(), restored.conclude())
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn flows_go_to_their_workers_once_and_the_snapshot_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("flows");
    assert_eq!(start(&path), (0, vec![]), "without a snapshot");
    assert_eq!(save(&path, &filled(100)).expect("written"), 100);
    assert_eq!(names(folder.path()), ["flows"]);
    assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o600);
    let sizes = config(9, 2);
    let (tables, restored) = tables(&sizes, 2, Some(&path), OnExit::Drop);
    for port in 0..100 {
        let owner = sizes.flow_hash.worker(&tuple(port));
        assert!(tables[owner].find(&tuple(port)).is_some());
    }
    assert_eq!(names(folder.path()), ["flows"], "as long as the start may fail");
    assert_eq!(restored.conclude(), Vec::<String>::new());
    assert_eq!(names(folder.path()), Vec::<String>::new());
    assert_eq!(start(&path), (0, vec![]), "after a crash");
}

#[test]
fn a_snapshot_that_is_not_right_stands_aside_and_all_begins_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("flows");
    save(&path, &filled(100)).expect("written");
    let right = fs::read(&path).expect("there");
    let mut damaged = right.clone();
    damaged[5000] ^= 1;
    let mut newer = right.clone();
    newer[8] = 99;
    let truncated = right[..5000].to_vec();
    for (bytes, word) in [
        (damaged, "checksum"),
        (newer, &*format!("version 99, and this weir reads {}", snapshot::VERSION)),
        (truncated, &*format!("after {} of 100 flows", (5000 - 28) / snapshot::RECORD_BYTES)),
        (b"iptables-save".to_vec(), "no snapshot"),
        (Vec::new(), "no snapshot"),
    ] {
        fs::write(&path, &bytes).expect("written");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("set");
        let (flows, warnings) = start(&path);
        let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
        assert!(flows == 0 && warning.contains(word), "{warning}");
        assert!(warning.contains("kept as") && warning.contains("flows.refused"), "{warning}");
        assert_eq!(names(folder.path()), ["flows.refused"]);
        assert_eq!(fs::read(folder.path().join("flows.refused")).expect("there"), bytes);
        assert_eq!(start(&path), (0, vec![]));
    }
}

#[test]
fn what_others_could_have_written_is_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("flows");
    let write = |mode| {
        save(&path, &filled(3)).expect("written");
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("set");
    };
    let refused = |words: &[&str], left: &[&str]| {
        let (flows, warnings) = start(&path);
        assert_eq!((flows, warnings.len()), (0, 1), "{warnings:?}");
        assert!(words.iter().all(|word| warnings[0].contains(word)), "{warnings:?}");
        assert_eq!(names(folder.path()), left);
    };
    for mode in [0o602, 0o620, 0o666] {
        write(mode);
        refused(&["others than its owner", &format!("mode {mode:o}")], &["flows.refused"]);
    }
    write(0o644);
    assert_eq!(start(&path), (3, vec![]), "read by all, written by one");
    // Whatever is no regular file is used by others: it is neither moved, nor replaced at the end.
    let stays = || {
        let kind = || fs::symlink_metadata(&path).expect("there").file_type();
        let before = kind();
        refused(&["no regular file", "stays where it is"], &["flows", "flows.refused"]);
        let error = save(&path, &filled(3)).expect_err("in the way").to_string();
        assert!(error.contains("no regular file"), "{error}");
        assert_eq!(names(folder.path()), ["flows", "flows.refused"]);
        assert_eq!(kind(), before);
    };
    let target = tempfile::NamedTempFile::new().expect("a file");
    symlink(target.path(), &path).expect("a link");
    stays();
    fs::remove_file(&path).expect("a link");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .expect("a pipe");
    stays();
    fs::remove_file(&path).expect("a pipe");
    fs::create_dir(&path).expect("a folder");
    stays();
    fs::remove_dir(&path).expect("empty");
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: a file of another user: only root can make one");
        return;
    }
    write(0o600);
    std::os::unix::fs::chown(&path, Some(12_345), None).expect("changed");
    refused(&["belongs to user 12345", "runs as 0"], &["flows.refused"]);
}

#[test]
fn a_snapshot_that_cannot_be_written_does_not_cost_the_one_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("flows");
    save(&path, &filled(7)).expect("written");
    let before = fs::read(&path).expect("there");
    fs::create_dir(folder.path().join("flows.new")).expect("in the way");
    save(&path, &filled(8)).expect_err("in the way");
    assert_eq!(fs::read(&path).expect("there"), before);
    fs::remove_dir(folder.path().join("flows.new")).expect("empty");
    // Half a file of one that was killed is not in the way.
    fs::write(folder.path().join("flows.new"), b"half").expect("written");
    assert_eq!(save(&path, &filled(8)).expect("written"), 8);
    assert_eq!(names(folder.path()), ["flows"]);
    let nowhere = folder.path().join("none/flows");
    save(&nowhere, &filled(8)).expect_err("no folder");
    let (flows, warnings) = start(&nowhere);
    assert_eq!((flows, warnings.len()), (0, 1));
    assert!(warnings[0].contains("mkdir"), "told at the start, not at the end: {warnings:?}");
}

#[test]
fn flows_without_room_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("flows");
    save(&path, &filled(10)).expect("written");
    let small = ConntrackConfig { flows_max: 4, ..config(9, 1) };
    let (tables, restored) = tables(&small, 1, Some(&path), OnExit::Drop);
    let warnings = restored.conclude();
    assert_eq!((tables[0].len(), warnings.len()), (4, 1));
    assert!(warnings[0].contains("6 flows found no room"), "{warnings:?}");
}

#[test]
fn where_the_kernel_forwards_meanwhile_windows_are_not_held_against_anyone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("flows");
    let before = filled(1);
    let marks = |table: &Conntrack| {
        let mut bytes = Vec::new();
        table.export(0, u32::MAX, &mut |record: FlowRecord| {
            bytes.push(record.encode()[11..13].to_vec())
        });
        bytes.concat()
    };
    let kept = marks(&before[0]);
    for (on_exit, expected) in
        [(OnExit::Drop, [kept[0], kept[1]]), (OnExit::Pass, [kept[0] | 4, kept[1] | 4])]
    {
        save(&path, &before).expect("written");
        let (tables, restored) = tables(&config(9, 1), 1, Some(&path), on_exit);
        assert_eq!((marks(&tables[0]), restored.conclude()), (expected.to_vec(), vec![]));
    }
}
