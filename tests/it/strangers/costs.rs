//! No header costs much more than an ordinary one of its size.

use std::net::SocketAddr;

use crate::{
    crash::World,
    harness::{
        self,
        program::Program,
        raw_http,
        settings::{CLIENT_ID, ORIGIN},
    },
};

/// Bytes of the header in question.
const SIZE: usize = 15_000;

/// Requests on one connection for each measurement.
const REQUESTS: usize = 40;

/// Processor time of all threads of a process, in microseconds.
fn processor_time(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("running");
    let spent = tasks.flatten().filter_map(|task| {
        let line = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        line.split(' ').next()?.parse::<u64>().ok()
    });
    spent.sum::<u64>() / 1000
}

/// A value of the size, made of repetitions, after `begin`.
fn long(begin: &str, part: &str, end: &str) -> String {
    let room = SIZE - begin.len() - end.len();
    format!("{begin}{}{end}", part.repeat(room / part.len()))
}

/// The text of a request; `last` on its connection.
fn request(path: &str, (name, value): (&str, &str), last: bool) -> String {
    let (method, path) = path.split_once(' ').expect("a method and a path");
    let json = if name == "Content-Type" { "" } else { "Content-Type: application/json\r\n" };
    let close = if last { "Connection: close\r\n" } else { "" };
    format!(
        "{method} {path} HTTP/1.1\r\nHost: t\r\n{close}{json}Content-Length: 0\r\n{name}: {value}\r\n\r\n"
    )
}

/// Whether the connection stays open after such a request.
async fn stays_open(program: &Program, path: &str, header: (&str, &str)) -> bool {
    let both = request(path, header, false) + &request(path, header, true);
    let answer = raw_http::send(program.public.expect("an ingress"), both.as_bytes()).await;
    answer.matches("HTTP/1.1 ").count() == 2
}

/// Microseconds that one such request takes: the least of several measurements, because other
/// processes can only add to it. All on one connection, or each on its own.
async fn cost(program: &Program, path: &str, header: (&str, &str), together: bool) -> u64 {
    let address: SocketAddr = program.public.expect("an ingress");
    let mut requests: Vec<String> =
        (1..=REQUESTS).map(|n| request(path, header, !together || n == REQUESTS)).collect();
    if together {
        requests = vec![requests.concat()];
    }
    let mut least = u64::MAX;
    for _ in 0..5 {
        let before = processor_time(program.pid());
        let mut answered = 0;
        for bytes in &requests {
            let answer = raw_http::send(address, bytes.as_bytes()).await;
            answered += answer.matches("HTTP/1.1 ").count();
        }
        assert_eq!(answered, REQUESTS, "{path} {}", header.0);
        least = least.min(processor_time(program.pid()) - before);
    }
    least / u64::try_from(REQUESTS).expect("few")
}

/// Requests that look for work out of proportion: method and path, header, value.
fn cases() -> Vec<(&'static str, &'static str, String)> {
    let (webhook, config, session) =
        ("POST /v1/workos_webhook/", "GET /v2/user/login_config/", "GET /v2/user/session/");
    let (login, refresh) = ("POST /v2/user/workos_login_url/", "POST /v2/user/refresh/");
    vec![
        (config, "Origin", long("", "blob:", ORIGIN)),
        (config, "Origin", long("https://", "a.", "example.com")),
        (config, "Origin", long("https://xn--", "a", ".example.com")),
        (login, "X-Forwarded-For", long("", "10.0.0.1,", "10.0.0.1")),
        (login, "X-Forwarded-For", long("", "127.0.0.1,", "127.0.0.1")),
        (login, "X-Forwarded-For", long("", ",", "127.0.0.1")),
        (session, "Cookie", long("", ";", "")),
        (session, "Cookie", long("", "=;", "")),
        (session, "Cookie", long("", "__Host-authpost_access=a;", "")),
        (session, "Cookie", long("__Host-authpost_access=", "a.", "")),
        (session, "Cookie", long("", " \t", ";a=b")),
        (session, "Authorization", long("Bearer ", ".", "")),
        (session, "Authorization", long("Bearer ", "eyJhbGciOiJSUzI1NiJ9.", "")),
        (session, "Authorization", long("Bearer ", " ", "")),
        (refresh, "Cookie", long("", "__Host-authpost_refresh=", "")),
        (refresh, "Sec-Fetch-Site", long("", "same-origin,", "")),
        (webhook, "WorkOS-Signature", long("", "t=1,", "v1=00")),
        (webhook, "WorkOS-Signature", long("t=1768478400000", ", v1=00", "")),
        (webhook, "WorkOS-Signature", long("", "=", "")),
        (webhook, "Traceparent", long("00-", "0", "-01")),
        (login, "Content-Type", long("application/json", ";a=b", "")),
        (login, "User-Agent", long("", "Mozilla ", "")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_header_costs_twice_an_ordinary_one_of_its_size() {
    let world = World::new().await;
    world.workos.for_client(CLIENT_ID);
    let mut env = world.env();
    env.extend([
        ("WORKOS_CLIENT_ID", CLIENT_ID.to_owned()),
        ("AUTHPOST_SIGNIN_ORIGINS", ORIGIN.to_owned()),
        ("AUTHPOST_SIGNIN_RATE", "1000000".to_owned()),
        ("AUTHPOST_TRUSTED_PROXIES", "127.0.0.0/8".to_owned()),
    ]);
    let program = Program::start("serve", &env, &world.log()).await;
    let mut worst = (0.0, String::new());
    for (path, name, value) in &cases() {
        let together = stays_open(&program, path, (name, value)).await;
        let ordinary = cost(&program, path, ("X-Other", &"a".repeat(SIZE)), together).await;
        let this = cost(&program, path, (name, value), together).await;
        #[expect(clippy::cast_precision_loss, reason = "microseconds")]
        let ratio = this as f64 / ordinary.max(1) as f64;
        if ratio > worst.0 {
            worst = (ratio, format!("{name}: {}… {this} us against {ordinary}", &value[..24]));
        }
        // A debug build of a parser that a release build does not notice: what is over a tenth of a
        // millisecond would be seen.
        assert!(
            this <= 2 * ordinary + 100,
            "{path} {name}: {value:.40}… {this} against {ordinary}"
        );
    }
    harness::figure(&format!("dearest header: {:.2} times an ordinary one ({})", worst.0, worst.1));
    program.stop().await;
}
