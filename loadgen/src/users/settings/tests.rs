use super::*;

const LEAST: &str = "rate = 100\nclients = '198.18.0.0/24'\nservers = '198.19.0.2'\n";

fn check(more: &str) -> Result<Settings, Refused> {
    toml::from_str::<UsersConfig>(&format!("{LEAST}{more}")).expect("TOML").check()
}

#[test]
fn what_is_left_out_is_as_a_linux_has_it() {
    let settings = check("").unwrap();
    assert_eq!(settings.tcp, TcpSettings::default());
    assert_eq!((settings.client_ports, settings.server_port), ((32_768, 60_999), 80));
    assert_eq!((settings.backlog, settings.cookies), (4_096, CookieUse::WhenFull));
    assert_eq!((settings.spacing, settings.closes_first), (Spacing::Poisson, Closer::Server));
    assert_eq!((settings.request.bytes(), settings.response.bytes()), (200, 4_000));
}

#[test]
fn every_value_arrives_where_it_belongs() {
    let settings = check(
        "spacing = 'constant'\nclient_ports = '1024-65535'\nservice_us = 7\npatience_s = 1.5\nsyn_cookies = 'always'\n\
         closes_first = 'client'\ntime_wait_max = 3\nreuse_time_wait = true\nbacklog = 9\n\
         shared_address = '198.18.1.1'\nshared_share = 0.25\n[tcp]\nmss = 1000\nsyn_linear_timeouts = 4\nsack = false\n\
         time_wait_s = 2\nrto_min_ms = 50\n",
    )
    .unwrap();
    assert_eq!(
        (settings.client_ports, settings.service_ns, settings.patience_ns),
        ((1_024, 65_535), 7_000, 1_500_000_000)
    );
    assert_eq!((settings.time_wait_max, settings.reuse_time_wait, settings.backlog), (3, true, 9));
    assert_eq!(
        settings.shared.map(|shared| (shared.address.to_string(), shared.share)),
        Some(("198.18.1.1".into(), 0.25))
    );
    let tcp = TcpSettings {
        mss: 1_000,
        syn_linear: 4,
        sack: false,
        time_wait_ns: 2_000_000_000,
        rto_min_ns: 50_000_000,
        ..TcpSettings::default()
    };
    assert_eq!(settings.tcp, tcp);
}

/// The whole message, for each kind of mistake.
#[test]
fn a_mistake_is_named_with_what_is_allowed() {
    for (more, message) in [
        ("server_port = 0", "`users.server_port = 0`: 1 to 65535"),
        ("connections_max = 0", "`users.connections_max = 0`: 1 to 16777216"),
        ("backlog = 0", "`users.backlog = 0`: 1 to 16777216"),
        ("patience_s = 0.0", "`users.patience_s = 0`: 0.001 to 86400"),
        ("response_bytes = 0", "`users.response_bytes = 0`: 1 to 1073741824"),
        ("client_ports = '9-8'", "`users.client_ports = 9-8`: first-last, from 1 to 65535"),
        ("shared_share = 0.1", "`users.shared_share = 0.1`: needs users.shared_address"),
        (
            "shared_address = '198.18.1.1'",
            "`users.shared_address = 198.18.1.1`: needs users.shared_share",
        ),
        (
            "shared_address = '198.18.0.7'\nshared_share = 0.5",
            "`users.shared_address = 198.18.0.7`: one address, of the family of users.clients and none of them",
        ),
        ("shared_address = '198.18.1.1'\nshared_share = 1.5", "`users.shared_share = 1.5`: 0 to 1"),
        (
            "talk = 'http'\nrequest_bytes = 20",
            "`users.request_bytes = 20`: too short for the head that users.talk = \"http\" puts before it",
        ),
        ("tcp.mss = 10", "`users.tcp.mss = 10`: 88 to 9000"),
        ("tcp.window_bytes = 100", "`users.tcp.window_bytes = 100`: 1460 to 1073741824"),
        (
            "tcp.window_scale = false\ntcp.window_bytes = 65536",
            "`users.tcp.window_bytes = 65536`: 1460 to 65535",
        ),
        ("tcp.rto_min_ms = 0", "`users.tcp.rto_min_ms = 0`: 1 to 120000: a timer needs some time"),
        ("tcp.time_wait_s = -1", "`users.tcp.time_wait_s = -1`: 0 to 86400"),
        ("tcp.delayed_ack_ms = 200000", "`users.tcp.delayed_ack_ms = 200000`: 0 to 120000"),
    ] {
        assert_eq!(check(more).unwrap_err().to_string(), message);
    }
    let other =
        |text: &str| toml::from_str::<UsersConfig>(text).unwrap().check().unwrap_err().to_string();
    let six = other("rate = 1\nclients = '198.18.0.0/24'\nservers = '2001:db8::1'");
    assert_eq!(six, "`users.servers = 2001:db8::1`: of the same family as users.clients");
    let rate = other("rate = -1\nclients = '198.18.0.0/24'\nservers = '198.19.0.2'");
    assert_eq!(rate, "`users.rate = -1`: 0 to 10000000");
    let bits = other("rate = 1\nclients = '198.18.0.1/24'\nservers = '198.19.0.2'");
    assert_eq!(
        bits,
        "`users.clients = \"198.18.0.1/24\"`: `198.18.0.1/24` has bits set behind its prefix"
    );
}

#[test]
fn a_word_that_is_unknown_is_refused() {
    for more in ["frobs = 1", "tcp.frobs = 1", "spacing = 'sometimes'", "syn_cookies = true"] {
        toml::from_str::<UsersConfig>(&format!("{LEAST}{more}")).unwrap_err();
    }
}

#[test]
fn memory_is_stated() {
    let settings = check("connections_max = 1000000\nbacklog = 1000").unwrap();
    let each = (CLIENT_CONNECTION_BYTES + SERVER_CONNECTION_BYTES) as u64;
    assert_eq!(settings.memory_bytes(), 1_000_000 * each + 1_000 * SERVER_CONNECTION_BYTES as u64);
}
