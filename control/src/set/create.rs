//! The options of `ipset create`.

use super::error::SetLineErrorKind;
use super::number::{byte, number};
use super::{SET_TIMEOUT_S_MAX, SetKind, SetSpec};
use crate::rule::Family;

/// Types that ipset has and Weir has not.
const KINDS: [&str; 15] = [
    "bitmap:ip",
    "bitmap:ip,mac",
    "bitmap:port",
    "hash:ip,mac",
    "hash:ip,mark",
    "hash:ip,port,ip",
    "hash:ip,port,net",
    "hash:mac",
    "hash:net,iface",
    "hash:net,net",
    "hash:net,port",
    "hash:net,port,net",
    "ipmap",
    "macipmap",
    "portmap",
];

/// Options that ipset has, for some type or other, and Weir has not.
const OPTIONS: [&str; 9] = [
    "bitmask", "counters", "forceadd", "gc", "markmask", "probes", "resize", "skbinfo", "wildcard",
];

/// Reads the type and what follows it.
pub(super) fn parse(words: &[String]) -> Result<SetSpec, (usize, SetLineErrorKind)> {
    let (name, options) = words
        .split_first()
        .ok_or((0, SetLineErrorKind::EntryOrTypeMissing { command: "create" }))?;
    let kind = SetKind::of_name(name).ok_or_else(|| {
        let text = name.clone();
        (
            0,
            match KINDS.contains(&name.as_str()) {
                true => SetLineErrorKind::TypeNotEnforced { text },
                false => SetLineErrorKind::TypeName { text },
            },
        )
    })?;
    let (mut spec, mut seen) = (SetSpec::new(kind), Vec::new());
    let mut netmask = None;
    let mut place = 0;
    while let Some(word) = options.get(place) {
        // `-4` and `-6` are families, and an option may have dashes, as in ipset 4.
        let known = takes(kind, word.trim_start_matches('-'));
        let (option, family) = match word.trim_start_matches('-') {
            "4" => ("family", Some(Family::V4)),
            "6" => ("family", Some(Family::V6)),
            option => (option, None),
        };
        let at = |error| (place + 1, error);
        if seen.contains(&option) {
            return Err(at(SetLineErrorKind::Repeated { option: option.to_owned() }));
        }
        seen.push(option);
        if !known {
            let (option, text) = (option.to_owned(), word.clone());
            return Err(at(match OPTIONS.contains(&option.as_str()) {
                true => SetLineErrorKind::NotEnforced { option },
                false => SetLineErrorKind::UnknownArgument { text },
            }));
        }
        match option {
            "comment" => spec.comment = true,
            "family" if family.is_some() => spec.family = family.unwrap_or_default(),
            _ => {
                let missing = || SetLineErrorKind::ValueMissing { option: option.to_owned() };
                let value = options.get(place + 1).ok_or_else(|| at(missing()))?;
                if option == "netmask" {
                    netmask = Some((place + 2, value));
                } else {
                    with_value(&mut spec, option, value).map_err(|error| (place + 2, error))?;
                }
                place += 1;
            }
        }
        place += 1;
    }
    // How long it may be depends on the family, which may come behind it.
    if let Some((place, value)) = netmask {
        let length = byte(value, 1, spec.family.address_bits());
        spec.netmask = Some(length.map_err(|error| (place, error))?);
    }
    Ok(spec.rounded())
}

/// Whether sets of that kind have the option.
fn takes(kind: SetKind, option: &str) -> bool {
    match option {
        "timeout" | "comment" => true,
        "size" => kind == SetKind::ListSet,
        "netmask" => kind == SetKind::HashIp,
        "family" | "4" | "6" | "hashsize" | "maxelem" | "bucketsize" | "initval" => {
            kind != SetKind::ListSet
        }
        _ => false,
    }
}

fn with_value(spec: &mut SetSpec, option: &str, value: &str) -> Result<(), SetLineErrorKind> {
    match option {
        "family" => match value {
            "inet" | "ipv4" | "-4" => spec.family = Family::V4,
            "inet6" | "ipv6" | "-6" => spec.family = Family::V6,
            _ => return Err(SetLineErrorKind::Family { text: value.to_owned() }),
        },
        "hashsize" => spec.hashsize = number(value, 0, u32::MAX)?,
        "maxelem" => spec.maxelem = number(value, 0, u32::MAX)?,
        "size" => spec.size = number(value, 0, u32::MAX)?,
        "timeout" => spec.timeout_s = Some(number(value, 0, SET_TIMEOUT_S_MAX)?),
        "bucketsize" => spec.bucketsize = Some(byte(value, 0, u8::MAX)?),
        _ => spec.initval = Some(number(value, 0, u32::MAX)?),
    }
    Ok(())
}
