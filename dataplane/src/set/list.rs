//! Lists of sets (net/netfilter/ipset/ip_set_list_set.c).

use std::sync::Arc;

use weir_control::set::{Beside, SetError, SetName};

/// A set in a list.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// Its number.
    pub(super) place: u16,
    pub(super) name: Arc<SetName>,
    pub(super) expires_ms: Option<u64>,
    pub(super) comment: Option<Arc<str>>,
}

fn position(members: &[Member], name: &SetName) -> Option<usize> {
    members.iter().position(|member| *member.name == *name)
}

fn not_added(name: &SetName) -> SetError {
    SetError::BesideNotAdded { name: name.clone() }
}

fn other(beside: &Beside) -> &SetName {
    let (Beside::Before(name) | Beside::After(name)) = beside;
    name
}

/// Puts a set into the list, at its end unless `beside` says otherwise. One that is there keeps its place.
pub(super) fn add(
    members: &mut Vec<Member>,
    member: Member,
    beside: Option<&Beside>,
    exist: bool,
) -> Result<(), SetError> {
    let place = match beside {
        None => members.len(),
        Some(beside) => {
            let at = position(members, other(beside)).filter(|at| members[*at].name != member.name);
            let at = at.ok_or_else(|| not_added(other(beside)))?;
            at + usize::from(matches!(beside, Beside::After(_)))
        }
    };
    match position(members, &member.name) {
        Some(_) if !exist => Err(SetError::Added { entry: member.name.to_string() }),
        Some(there) => {
            members[there] = member;
            Ok(())
        }
        None => {
            members.insert(place, member);
            Ok(())
        }
    }
}

/// Whether the set is in the list, and where `beside` says.
pub(super) fn has(members: &[Member], name: &SetName, beside: Option<&Beside>) -> bool {
    let neighbour =
        |at: Option<usize>| at.and_then(|at| members.get(at)).map(|member| &*member.name);
    position(members, name).is_some_and(|at| match beside {
        None => true,
        Some(Beside::Before(other)) => neighbour(at.checked_add(1)) == Some(other),
        Some(Beside::After(other)) => neighbour(at.checked_sub(1)) == Some(other),
    })
}

/// Takes a set out of the list.
pub(super) fn delete(
    members: &mut Vec<Member>,
    name: &SetName,
    beside: Option<&Beside>,
    exist: bool,
) -> Result<(), SetError> {
    match (position(members, name), beside) {
        (Some(at), _) if has(members, name, beside) => {
            members.remove(at);
            Ok(())
        }
        (_, Some(beside)) => Err(not_added(other(beside))),
        _ if exist => Ok(()),
        _ => Err(SetError::NotAdded { entry: name.to_string() }),
    }
}
