//! From options to settings, noting every problem.

use std::{path::PathBuf, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use shared::{dedupe::outage::WhenAway, telemetry::LogFormat, tls, webhook::WebhookKeys};
use url::Url;
use worker::{
    OnAmbiguity,
    mail::{
        message::Sender,
        render::Templates,
        smtp::{RelayUrl, Timeouts},
    },
};

use super::{
    Problems, args,
    parse::Reader,
    settings::{Distributed, Embedded, Engine, Ingress, Process, SignIn, Worker, Workos},
    sign_in, traces, workos,
};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// `authpost serve`: both roles, either engine.
pub fn read_serve(args: args::ServeArgs) -> Result<(Ingress, Worker, Engine, Process), Problems> {
    let mut reader = Reader::default();
    let workos = workos::read(&mut reader, args.workos);
    let sign_in = sign_in::read(&mut reader, args.sign_in, workos.as_ref());
    let ingress = ingress(&mut reader, args.ingress, sign_in);
    let worker = worker(&mut reader, args.worker, workos);
    let engine = engine(&mut reader, args.engine);
    let process = process(&mut reader, args.process, args.traces);
    let all = ingress.zip(worker).zip(engine).zip(process);
    reader.finish(all.map(|(((ingress, worker), engine), process)| (ingress, worker, engine, process)))
}

/// `authpost ingress`: the front alone, which needs an engine that others can reach.
pub fn read_ingress(args: args::IngressArgs) -> Result<(Ingress, Distributed, Process), Problems> {
    let mut reader = Reader::default();
    // A front that signs nobody in has no business with an API key.
    let workos = sign_in::is_on(&args.sign_in).then(|| workos::read(&mut reader, args.workos)).flatten();
    let sign_in = sign_in::read(&mut reader, args.sign_in, workos.as_ref());
    let ingress = ingress(&mut reader, args.ingress, sign_in);
    let engine = distributed(&mut reader, args.engine);
    let process = process(&mut reader, args.process, args.traces);
    reader.finish(ingress.zip(engine).zip(process).map(|((ingress, engine), process)| (ingress, engine, process)))
}

/// `authpost worker`: the back alone, which needs an engine that others can reach.
pub fn read_worker(args: args::WorkerArgs) -> Result<(Worker, Distributed, Process), Problems> {
    let mut reader = Reader::default();
    let workos = workos::read(&mut reader, args.workos);
    let worker = worker(&mut reader, args.worker, workos);
    let engine = distributed(&mut reader, args.engine);
    let process = process(&mut reader, args.process, args.traces);
    reader.finish(worker.zip(engine).zip(process).map(|((worker, engine), process)| (worker, engine, process)))
}

/// `authpost reconcile`: an engine, and WorkOS.
pub fn read_reconcile(operator: args::Operator, workos: args::Workos) -> Result<(Engine, Option<Vec<u8>>, Workos), Problems> {
    let mut reader = Reader::default();
    let engine = engine(&mut reader, operator.engine);
    let extra_ca = extra_ca(&mut reader, operator.extra_ca);
    let workos = workos::read(&mut reader, workos);
    reader.finish(engine.zip(extra_ca).zip(workos).map(|((engine, extra_ca), workos)| (engine, extra_ca, workos)))
}

/// The engine of an installation, for whoever looks into it; and a PEM of one more authority.
pub fn read_operator(args: args::Operator) -> Result<(Engine, Option<Vec<u8>>), Problems> {
    let mut reader = Reader::default();
    let engine = engine(&mut reader, args.engine);
    let extra_ca = extra_ca(&mut reader, args.extra_ca);
    reader.finish(engine.zip(extra_ca))
}

/// `Some(None)` without a file; `None` when it cannot be used.
#[expect(clippy::option_option, reason = "the outer one is this module's way of saying that a problem was noted")]
fn extra_ca(reader: &mut Reader, file: Option<PathBuf>) -> Option<Option<Vec<u8>>> {
    let Some(path) = file else { return Some(None) };
    let pem = reader.file("AUTHPOST_EXTRA_CA", &path)?;
    let usable = tls::client(Some(&pem)).map_err(|why| format!("cannot be used: {why}"));
    reader.note("AUTHPOST_EXTRA_CA", usable).map(|_| Some(pem))
}

fn process(reader: &mut Reader, args: args::Process, traces: args::Traces) -> Option<Process> {
    let args::Process { admin_listen, log, log_levels, grace, extra_ca } = args;
    let admin_listen = reader.parsed("AUTHPOST_ADMIN_LISTEN", &admin_listen, ADDRESS);
    let log = reader.word("AUTHPOST_LOG", &log, &[("text", LogFormat::Text), ("json", LogFormat::Json)]);
    let grace = reader.duration("AUTHPOST_GRACE", &grace, SECOND, Duration::from_secs(600));
    let extra_ca = self::extra_ca(reader, extra_ca);
    let traces = traces::read(reader, traces);
    Some(Process { admin_listen: admin_listen?, log: log?, log_levels, grace: grace?, extra_ca: extra_ca?, traces: traces? })
}

const ADDRESS: &str = "must be an address and a port such as 127.0.0.1:8080";

fn ingress(reader: &mut Reader, args: args::Ingress, sign_in: Option<SignIn>) -> Option<Ingress> {
    let args::Ingress { listen, workos_webhook_secret, workos_webhook_secret_file, max_connections } = args;
    let listen = reader.parsed("AUTHPOST_LISTEN", &listen, ADDRESS);
    let secrets = reader.secret(WEBHOOK_SECRET, workos_webhook_secret, workos_webhook_secret_file);
    let keys = reader.required(WEBHOOK_SECRET, secrets).and_then(|secrets| {
        let each: Vec<SecretString> =
            secrets.expose_secret().split(',').map(|secret| SecretString::from(secret.trim().to_owned())).collect();
        reader.note(WEBHOOK_SECRET, WebhookKeys::new(&each).map_err(|_| "has an empty secret between its commas"))
    });
    let max_connections = reader.within("AUTHPOST_MAX_CONNECTIONS", &max_connections, 1, 1_000_000);
    Some(Ingress { listen: listen?, keys: keys?, max_connections: usize::try_from(max_connections?).ok()?, sign_in })
}

const WEBHOOK_SECRET: &str = "WORKOS_WEBHOOK_SECRET";

fn engine(reader: &mut Reader, args: args::Engine) -> Option<Engine> {
    let neither = args.amqp_url.is_none() && args.amqp_url_file.is_none() && args.redis_url.is_none() && args.redis_url_file.is_none();
    if !neither {
        return distributed(reader, args).map(Engine::Distributed);
    }
    let queue_max = reader.within("AUTHPOST_QUEUE_MAX", &args.queue_max, 1, 10_000_000)?;
    Some(Engine::Embedded(Embedded { data_dir: args.data_dir, queue_max }))
}

fn distributed(reader: &mut Reader, args: args::Engine) -> Option<Distributed> {
    let args::Engine { amqp_url, amqp_url_file, redis_url, redis_url_file, data_dir: _, queue_prefix, queue_max } = args;
    let amqp_url = reader.secret("AMQP_URL", amqp_url, amqp_url_file);
    let redis_url = reader.secret("REDIS_URL", redis_url, redis_url_file);
    match (&amqp_url, &redis_url) {
        (Some(_), None) => reader
            .problem("REDIS_URL", "is not set although AMQP_URL is: set both for RabbitMQ and Redis, or neither for the embedded engine"),
        (None, Some(_)) => reader
            .problem("AMQP_URL", "is not set although REDIS_URL is: set both for RabbitMQ and Redis, or neither for the embedded engine"),
        (None, None) => {
            reader.required("AMQP_URL", None::<()>);
            reader.required("REDIS_URL", None::<()>);
        }
        (Some(_), Some(_)) => {}
    }
    let amqp_url = amqp_url.and_then(|url| scheme(reader, "AMQP_URL", url, ["amqp", "amqps"]));
    let redis_url = redis_url.and_then(|url| scheme(reader, "REDIS_URL", url, ["redis", "rediss"]));
    let plain = |text: &str| {
        !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    if !plain(&queue_prefix) {
        reader.problem("AUTHPOST_QUEUE_PREFIX", "must be 1 to 64 letters, digits, '-', '_' or '.'");
    }
    let queue_max = reader.within("AUTHPOST_QUEUE_MAX", &queue_max, 1, 10_000_000);
    Some(Distributed { amqp_url: amqp_url?, redis_url: redis_url?, prefix: queue_prefix, queue_max: queue_max? })
}

fn scheme(reader: &mut Reader, variable: &'static str, url: SecretString, schemes: [&str; 2]) -> Option<SecretString> {
    let parsed = Url::parse(url.expose_secret()).ok().filter(|url| schemes.contains(&url.scheme()) && url.has_host());
    let rule = || format!("must be a URL that begins with {}:// or {}:// and names a host", schemes[0], schemes[1]);
    reader.note(variable, parsed.ok_or_else(rule)).map(|_| url)
}

fn worker(reader: &mut Reader, args: args::Worker, workos: Option<Workos>) -> Option<Worker> {
    let workos_rate = reader.within("AUTHPOST_WORKOS_RATE", &args.workos_rate, 0, 100_000);
    let smtp_url = reader.secret("SMTP_URL", args.smtp_url.clone(), args.smtp_url_file.clone());
    let relay = reader.required("SMTP_URL", smtp_url).and_then(|url| reader.note("SMTP_URL", RelayUrl::parse(&url)));
    let smtp_timeouts = smtp_timeouts(reader, &args);
    let sender = reader.required("MAIL_FROM", args.mail_from.as_deref()).and_then(|text| reader.sender("MAIL_FROM", text));
    let concurrency = reader.within("AUTHPOST_CONCURRENCY", &args.concurrency, 1, 1000);
    let dedupe_ttl = reader.duration("AUTHPOST_DEDUPE_TTL", &args.dedupe_ttl, Duration::from_secs(600), 90 * DAY);
    let when_away = reader.word(
        "AUTHPOST_REDIS_OUTAGE",
        &args.redis_outage,
        &[("hold", WhenAway::Hold), ("send", WhenAway::SendAfter(Duration::from_secs(20)))],
    );
    let on_ambiguity = reader.word(
        "AUTHPOST_ON_AMBIGUITY",
        &args.on_ambiguity,
        &[("resend", OnAmbiguity::Resend), ("dead-letter", OnAmbiguity::DeadLetter)],
    );
    let reconcile = reader.word("AUTHPOST_RECONCILE", &args.reconcile, &[("on", true), ("off", false)]);
    let sender = sender?;
    let app_name = app_name(reader, args.app_name.clone(), &sender);
    if let Some(app_name) = &app_name {
        check_templates(reader, &args, app_name, &sender);
    }
    let hello = hello(reader, args.smtp_hello.unwrap_or_else(|| sender.address.domain().to_owned()));
    Some(Worker {
        workos: workos?,
        workos_rate: u32::try_from(workos_rate?).ok()?,
        relay: relay?,
        smtp_timeouts: smtp_timeouts?,
        hello: hello?,
        app_name: app_name?,
        sender,
        template_dir: args.template_dir,
        concurrency: u16::try_from(concurrency?).ok()?,
        dedupe_ttl: dedupe_ttl?,
        when_away: when_away?,
        on_ambiguity: on_ambiguity?,
        reconcile: reconcile?,
    })
}

/// They are loaded again when the worker starts; here so that a broken one is reported with everything else.
fn check_templates(reader: &mut Reader, args: &args::Worker, app_name: &str, sender: &Sender) {
    let usable = Templates::load(args.template_dir.as_deref(), app_name, sender.clone());
    reader.note("AUTHPOST_TEMPLATE_DIR", usable.map_err(|why| format!("cannot be used: {why}")));
}

fn smtp_timeouts(reader: &mut Reader, args: &args::Worker) -> Option<Timeouts> {
    let mut step = |variable, text: &str, most| reader.duration(variable, text, Duration::from_millis(100), most);
    let connect = step("AUTHPOST_SMTP_CONNECT_TIMEOUT", &args.smtp_connect_timeout, Duration::from_secs(30));
    let command = step("AUTHPOST_SMTP_COMMAND_TIMEOUT", &args.smtp_command_timeout, Duration::from_secs(60));
    let last = step("AUTHPOST_SMTP_TIMEOUT", &args.smtp_timeout, Duration::from_secs(120));
    Some(Timeouts { connect: connect?, command: command?, last: last? })
}

fn hello(reader: &mut Reader, name: String) -> Option<String> {
    let plain =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'[' | b']' | b':'));
    reader.note("AUTHPOST_SMTP_HELLO", plain.then_some(name).ok_or("must be a host name"))
}

fn app_name(reader: &mut Reader, name: Option<String>, sender: &Sender) -> Option<String> {
    let name = name.or_else(|| sender.name.clone()).unwrap_or_else(|| sender.address.domain().to_owned());
    let plain = !name.trim().is_empty() && name.chars().count() <= 100 && !name.chars().any(char::is_control);
    reader.note("AUTHPOST_APP_NAME", plain.then_some(name).ok_or("must be 1 to 100 characters on one line"))
}
