//! Our users' TCP against the kernel's: its servers answer our clients, and its clients are answered by our server.
//!
//! The kernel judges: what it takes and what it says must be whole, and it must count no error.

mod pump;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pump::{Helper, Town};
use weir_dataplane::wire::MacAddr;
use weir_loadgen::result::UsersResult;
use weir_loadgen::users::settings::{AnswerEnd, Closer, CookieUse, RequestEnd, Talk};
use weir_loadgen::users::{Actor, Clients, Link, Progress, Server, Settings, UsersConfig};
use weir_tests::process;
use weir_tests::skip_unless;

const LINK: Link = Link {
    source: MacAddr([2, 0, 0, 0, 0, 1]),
    destination: MacAddr([2, 0, 0, 0, 0, 2]),
    tag: None,
};

/// Our clients' settings: the kernel is the server.
fn clients(six: bool, change: impl FnOnce(&mut UsersConfig)) -> Settings {
    let text = r#"
        rate = 200.0
        clients = "198.18.0.0/24"
        servers = "198.19.0.1"
        server_port = 8080
        connections_max = 8192
        request_bytes = 300
        response_bytes = 20000
        tcp.time_wait_s = 1.0
    "#;
    let mut config: UsersConfig = toml::from_str(text).expect("settings");
    if six {
        config.clients = "2001:db8:18::/112".to_owned();
        config.servers = "2001:db8:19::1".to_owned();
    }
    change(&mut config);
    config.check().expect("settings")
}

/// A server of the kernel's that answers requests of this length with what our server would say.
fn kernel_server(town: &Town, settings: &Settings, closes_first: Closer) -> Helper {
    let address = SocketAddr::new(settings.servers.address(0).ip(), settings.server_port);
    let mut request = vec![0; settings.request.bytes() as usize];
    settings.request.write(0, &mut request);
    let mut response = vec![0; settings.response.bytes() as usize];
    settings.response.write(0, &mut response);
    let said = Arc::new((request, response));
    let begin = move || {
        let listener = TcpListener::bind(address).expect("a listener");
        listener.set_nonblocking(true).expect("without waiting");
        listener
    };
    Helper::start(&town.namespace, begin, move |listener| match listener.accept() {
        Ok((stream, _)) => {
            let said = Arc::clone(&said);
            std::thread::spawn(move || serve(&stream, &said.0, &said.1, closes_first));
        }
        Err(_) => std::thread::sleep(Duration::from_millis(1)),
    })
}

fn serve(mut stream: &TcpStream, request: &[u8], response: &[u8], closes_first: Closer) {
    stream.set_nonblocking(false).expect("with waiting");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
    let mut heard = vec![0; request.len()];
    // A client of ours that has given up is told by its own counts.
    if stream.read_exact(&mut heard).is_err() {
        return;
    }
    assert!(heard == request, "the kernel heard something else");
    let _ = stream.write_all(response);
    if closes_first == Closer::Client {
        let _ = stream.read(&mut heard);
    }
}

/// Plays `count` connections of our clients against a server of the kernel's, and checks what must always hold.
fn play_clients(town: &Town, settings: &Settings, lossy: u64, count: u64) -> Clients {
    let mut clients = Clients::new(settings, LINK, 0x5eed);
    town.play(&mut clients, lossy, |clients, now_ns| {
        if clients.ends().attempted >= count {
            clients.wind_down(now_ns);
        }
        clients.ends().attempted >= count && clients.is_idle()
    });
    let ends = clients.ends();
    assert_eq!(
        (ends.completed, ends.not_begun, ends.unfinished()),
        (ends.attempted, 0, 0),
        "{ends:?}"
    );
    assert_eq!(town.count("Tcp:", "InCsumErrors"), 0);
    let result = told(&clients);
    assert_eq!(result.damaged, 0);
    assert!(
        result.goodput_bytes >= ends.completed * u64::from(settings.response.bytes())
            || !is_bytes(settings)
    );
    clients
}

fn told(clients: &Clients) -> UsersResult {
    let mut result = UsersResult::default();
    clients.tell(&mut result);
    result
}

fn is_bytes(settings: &Settings) -> bool {
    settings.answer_end == AnswerEnd::Bytes
}

#[test]
fn our_clients_are_served_by_the_kernel() {
    skip_unless!(root, command "ip");
    for (six, closes_first, lossy) in [
        (false, Closer::Server, 0),
        (true, Closer::Client, 0),
        (false, Closer::Client, 50),
        (true, Closer::Server, 50),
    ] {
        let town = Town::new("gen-users");
        let settings = clients(six, |config| config.closes_first = closes_first);
        let server = kernel_server(&town, &settings, closes_first);
        play_clients(&town, &settings, lossy, 200);
        drop(server);
    }
}

#[test]
fn our_clients_bring_back_the_cookies_of_the_kernel() {
    skip_unless!(root, command "ip");
    let town = Town::new("gen-users");
    town.namespace.set("net/ipv4/tcp_syncookies", "2").expect("cookies");
    let settings = clients(false, |_| ());
    let server = kernel_server(&town, &settings, Closer::Server);
    play_clients(&town, &settings, 0, 200);
    assert!(town.count("TcpExt:", "SyncookiesRecv") >= 200);
    assert_eq!(town.count("TcpExt:", "SyncookiesFailed"), 0);
    drop(server);
}

/// The kernel's SYNPROXY: a cookie with window 0, and the window when the server behind it has been reached.
#[test]
fn our_clients_pass_the_proxy_of_the_kernel() {
    skip_unless!(root, command "ip", command "iptables-legacy");
    let town = Town::new("gen-users");
    town.namespace.set("net/netfilter/nf_conntrack_tcp_loose", "0").ok();
    let rules = [
        "iptables-legacy -t raw -A PREROUTING -i u0 -p tcp --syn -j CT --notrack",
        "iptables-legacy -A INPUT -i u0 -p tcp -m state --state INVALID,UNTRACKED -j SYNPROXY --sack-perm --timestamp \
         --wscale 7 --mss 1460",
        "iptables-legacy -A INPUT -i u0 -p tcp -m state --state INVALID -j DROP",
    ];
    for rule in rules {
        if let Err(error) = town.namespace.run(rule) {
            println!("SKIPPED: the kernel has no SYNPROXY: {error}");
            return;
        }
    }
    town.namespace.set("net/netfilter/nf_conntrack_tcp_loose", "0").expect("strict");
    let settings = clients(false, |_| ());
    let server = kernel_server(&town, &settings, Closer::Server);
    play_clients(&town, &settings, 0, 200);
    drop(server);
    assert!(town.proxied() >= 200, "{}", town.proxied());
}

#[test]
fn our_clients_are_served_by_a_real_web_server() {
    skip_unless!(root, command "ip", command "python3");
    let town = Town::new("gen-users");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("index.html"), vec![b'x'; 100_000]).expect("a page");
    let mut command = town.namespace.command("python3");
    command.args(["-u", "-m", "http.server", "8080", "--directory"]).arg(folder.path());
    let mut server =
        process::Process::spawn("server", command, &folder.path().join("log")).expect("python3");
    server.wait_for_line("Serving HTTP", Duration::from_secs(60)).expect("a server");
    let settings = clients(false, |config| {
        (config.talk, config.answer_ends, config.rate) = (Talk::Http, AnswerEnd::Close, 50.0);
    });
    let clients = play_clients(&town, &settings, 0, 50);
    let result = told(&clients);
    assert!(
        result.goodput_bytes > 100_000 * result.completed,
        "a head and the page: {}",
        result.goodput_bytes
    );
}

/// Our server's settings: the kernel is the client.
fn server(six: bool, change: impl FnOnce(&mut UsersConfig)) -> Settings {
    clients(six, |config| {
        (config.clients, config.servers) = if six {
            ("2001:db8:19::1".to_owned(), "2001:db8:18::5".to_owned())
        } else {
            ("198.19.0.1".to_owned(), "198.18.0.5".to_owned())
        };
        change(config);
    })
}

/// Counts down when dropped, also by a panic.
struct Leaving<'a>(&'a AtomicU64);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Has eight threads of kernel clients call our server so often each, checking every byte.
fn play_server(town: &Town, settings: &Settings, lossy: u64, calls: u64) -> Server {
    const THREADS: u64 = 8;
    let address = SocketAddr::new(settings.servers.address(0).ip(), settings.server_port);
    let mut request = vec![0; settings.request.bytes() as usize];
    settings.request.write(0, &mut request);
    let mut response = vec![0; settings.response.bytes() as usize];
    settings.response.write(0, &mut response);
    let running = AtomicU64::new(THREADS);
    let mut server = Server::new(settings, LINK, 0x5eed);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let _leaving = Leaving(&running);
                let _inside = town.namespace.enter().expect("inside");
                for _ in 0..calls {
                    call(address, &request, &response);
                }
            });
        }
        town.play(&mut server, lossy, |server, _| {
            running.load(Ordering::Relaxed) == 0 && server.is_idle()
        });
    });
    let progress = server.progress();
    assert_eq!(
        progress,
        Progress { begun: THREADS * calls, completed: THREADS * calls, failed: 0 }
    );
    assert_eq!((town.count("Tcp:", "InCsumErrors"), server.result().damaged), (0, 0));
    server
}

/// One connection of the kernel's: asks, hears the answer, and the end.
fn call(address: SocketAddr, request: &[u8], response: &[u8]) {
    let mut stream =
        TcpStream::connect_timeout(&address, Duration::from_secs(60)).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
    stream.write_all(request).expect("a request");
    let mut heard = vec![0; response.len()];
    stream.read_exact(&mut heard).expect("an answer");
    assert!(heard == response, "the kernel heard something else");
    stream.shutdown(std::net::Shutdown::Write).ok();
    assert_eq!(stream.read(&mut heard).expect("an end"), 0);
}

#[test]
fn our_server_answers_clients_of_the_kernel() {
    skip_unless!(root, command "ip");
    for (six, closes_first, cookies, lossy) in [
        (false, Closer::Server, CookieUse::Off, 0),
        (true, Closer::Client, CookieUse::Off, 0),
        (false, Closer::Client, CookieUse::Always, 0),
        (true, Closer::Server, CookieUse::WhenFull, 50),
        (false, Closer::Client, CookieUse::Off, 50),
    ] {
        let town = Town::new("gen-users");
        let settings = server(six, |config| {
            (config.closes_first, config.syn_cookies) = (closes_first, cookies);
            config.response_bytes = 60_000;
        });
        let server = play_server(&town, &settings, lossy, 12);
        let cookies_sent = server.result().cookies_sent;
        assert!(if cookies == CookieUse::Always { cookies_sent >= 96 } else { cookies_sent == 0 });
    }
}

/// A megabyte and more each way round: windows, scaling, congestion and recovery on a long run.
#[test]
fn a_long_answer_reaches_the_kernel_whole() {
    skip_unless!(root, command "ip");
    for lossy in [0, 20] {
        let town = Town::new("gen-users");
        let settings = server(false, |config| {
            (config.request_bytes, config.response_bytes) = (400_000, 2_000_000)
        });
        play_server(&town, &settings, lossy, 1);
    }
}

#[test]
fn our_server_answers_a_real_browser() {
    skip_unless!(root, command "ip", command "curl");
    let town = Town::new("gen-users");
    let settings = server(false, |config| {
        (config.talk, config.request_ends) = (Talk::Http, RequestEnd::BlankLine);
        config.response_bytes = 50_000;
    });
    let mut response = vec![0; 50_000];
    settings.response.write(0, &mut response);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("page");
    let mut server = Server::new(&settings, LINK, 0x5eed);
    let over = AtomicU64::new(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _leaving = Leaving(&over);
            for _ in 0..5 {
                let mut command = town.namespace.command("curl");
                command.args(["--silent", "--fail", "--max-time", "60", "--output"]).arg(&file);
                command.arg("http://198.18.0.5:8080/");
                process::run(command, Duration::from_secs(70)).expect("curl is content");
                let page = std::fs::read(&file).expect("a page");
                let head = response.len() - page.len();
                assert!(
                    response[head - 4..head] == *b"\r\n\r\n" && response[head..] == page,
                    "another page"
                );
            }
        });
        town.play(&mut server, 0, |server, _| {
            over.load(Ordering::Relaxed) == 0 && server.is_idle()
        });
    });
    assert_eq!(server.progress(), Progress { begun: 5, completed: 5, failed: 0 });
}
