//! How sets are printed: `ipset list` and `ipset save`, without their entries.

use std::fmt::Write as _;

use super::spec::family_word;
use super::{SetKind, SetSpec};
use crate::protocol::SetHeader;

/// The options of a set, as both print them.
pub fn header_words(spec: &SetSpec) -> String {
    let mut text = match spec.kind {
        SetKind::ListSet => format!("size {}", spec.size),
        _ => format!(
            "family {} hashsize {} maxelem {}",
            family_word(spec.family),
            spec.hashsize,
            spec.maxelem
        ),
    };
    let mut option = |name: &str, value: Option<u32>| {
        if let Some(value) = value {
            let _ = write!(text, " {name} {value}");
        }
    };
    option("netmask", spec.netmask.map(u32::from));
    option("timeout", spec.timeout_s);
    if spec.comment {
        text.push_str(" comment");
    }
    if let Some(size) = spec.bucketsize {
        let _ = write!(text, " bucketsize {size}");
    }
    if let Some(initval) = spec.initval {
        let _ = write!(text, " initval {initval:#010x}");
    }
    text
}

/// What `ipset list` prints before the entries.
pub fn plain(header: &SetHeader) -> String {
    let SetHeader { name, spec, memory_bytes, references, entries, .. } = header;
    format!(
        "Name: {name}\nType: {}\nRevision: {}\nHeader: {}\nSize in memory: {memory_bytes}\nReferences: {references}\nNumber of entries: {entries}\n",
        spec.kind,
        spec.kind.revision(),
        header_words(spec),
    )
}

/// What `ipset save` prints before the entries.
pub fn save_create(header: &SetHeader) -> String {
    format!("create {} {} {}\n", header.name, header.spec.kind, header_words(&header.spec))
}
