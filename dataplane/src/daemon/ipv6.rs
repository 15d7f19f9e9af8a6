//! Settings of the kernel without which nobody sends IPv6 this way.

/// What is in the way on these interfaces, and what to do.
pub(super) fn troubles(interfaces: &[String]) -> Vec<String> {
    interfaces.iter().filter_map(|interface| trouble(interface)).collect()
}

fn trouble(interface: &str) -> Option<String> {
    let setting = |name: &str| {
        let path = format!("/proc/sys/net/ipv6/conf/{interface}/{name}");
        std::fs::read_to_string(path).map(|value| value.trim().to_owned())
    };
    if setting("disable_ipv6").is_ok_and(|value| value != "0") {
        return Some(format!(
            "{interface}: IPv6 is switched off there: `sysctl -w net.ipv6.conf.{interface}.disable_ipv6=0`"
        ));
    }
    if setting("forwarding").is_ok_and(|value| value == "0") {
        return Some(format!(
            "{interface}: its neighbours take the machine for no router of IPv6: \
             `sysctl -w net.ipv6.conf.all.forwarding=1`"
        ));
    }
    None
}
