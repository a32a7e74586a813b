//! From options to settings, for each command. Notes every problem on the way.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use ::workos::ApiConfig;
use ingress::proxies::Proxies;
use ipnet::IpNet;
use runtime::{live::Live, tls::Trust};

use super::{
    Problems, args, engine,
    parse::Reader,
    process,
    settings::{EngineSettings, IngressSettings, Roles, Settings},
    sign_in, worker, workos,
};

/// `authpost serve`: both roles, on either engine.
pub fn read_serve(args: args::ServeArgs) -> Result<Settings, Problems> {
    let mut reader = Reader::default();
    let trust = process::trust(&mut reader, &args.process.outgoing);
    let api_url = args.workos.workos_api_url.clone();
    let api = workos::read(&mut reader, args.workos);
    let sign_in = sign_in::read(&mut reader, args.sign_in, api.as_ref());
    let ingress = ingress(&mut reader, args.ingress, &api_url, sign_in);
    let worker = worker::read(&mut reader, &args.worker, api, trust.as_ref());
    let engine = engine::read(&mut reader, args.engine, trust.as_ref());
    let process = process::read(&mut reader, args.process, args.traces, trust);
    let roles = ingress.zip(worker).map(|(ingress, worker)| Roles::Both(ingress, worker));
    let settings = roles.zip(engine).zip(process);
    reader.finish(settings.map(|((roles, engine), process)| Settings { roles, engine, process }))
}

/// `authpost ingress`: the ingress alone, on an engine that others can reach.
pub fn read_ingress(args: args::IngressArgs) -> Result<Settings, Problems> {
    let mut reader = Reader::default();
    let trust = process::trust(&mut reader, &args.process.outgoing);
    let api_url = args.workos.workos_api_url.clone();
    // An ingress that signs nobody in needs no API key.
    let api =
        sign_in::is_on(&args.sign_in).then(|| workos::read(&mut reader, args.workos)).flatten();
    let sign_in = sign_in::read(&mut reader, args.sign_in, api.as_ref());
    let ingress = ingress(&mut reader, args.ingress, &api_url, sign_in);
    let engine = engine::distributed(&mut reader, args.engine, trust.as_ref());
    let process = process::read(&mut reader, args.process, args.traces, trust);
    let settings =
        ingress.map(Roles::Ingress).zip(engine.map(EngineSettings::Distributed)).zip(process);
    reader.finish(settings.map(|((roles, engine), process)| Settings { roles, engine, process }))
}

/// `authpost worker`: the worker alone, on an engine that others can reach.
pub fn read_worker(args: args::WorkerArgs) -> Result<Settings, Problems> {
    let mut reader = Reader::default();
    let trust = process::trust(&mut reader, &args.process.outgoing);
    let api = workos::read(&mut reader, args.workos);
    let worker = worker::read(&mut reader, &args.worker, api, trust.as_ref());
    let engine = engine::distributed(&mut reader, args.engine, trust.as_ref());
    let process = process::read(&mut reader, args.process, args.traces, trust);
    let settings =
        worker.map(Roles::Worker).zip(engine.map(EngineSettings::Distributed)).zip(process);
    reader.finish(settings.map(|((roles, engine), process)| Settings { roles, engine, process }))
}

/// What a command needs to inspect an installation.
pub struct Inspection {
    /// The engine of the installation.
    pub engine: EngineSettings,
    /// The certificate authorities to trust.
    pub trust: Trust,
}

/// `authpost dead`, `authpost why`: the engine.
pub fn read_operator(args: args::OperatorOptions) -> Result<Inspection, Problems> {
    let mut reader = Reader::default();
    let inspection = inspection(&mut reader, args);
    reader.finish(inspection)
}

/// `authpost reconcile`, `authpost why --workos`: the engine, and WorkOS.
pub fn read_reconcile(
    operator: args::OperatorOptions,
    workos: args::WorkosOptions,
) -> Result<(Inspection, ApiConfig), Problems> {
    let mut reader = Reader::default();
    let inspection = inspection(&mut reader, operator);
    let api = workos::read(&mut reader, workos);
    reader.finish(inspection.zip(api))
}

fn inspection(reader: &mut Reader, args: args::OperatorOptions) -> Option<Inspection> {
    let trust = process::trust(reader, &args.outgoing);
    let engine = engine::read(reader, args.engine, trust.as_ref());
    Some(Inspection { engine: engine?, trust: trust? })
}

fn ingress(
    reader: &mut Reader,
    args: args::IngressOptions,
    api_url: &str,
    sign_in: sign_in::SignIn,
) -> Option<IngressSettings> {
    const SECRET: &str = "WORKOS_WEBHOOK_SECRET";
    let args::IngressOptions {
        listen,
        port,
        workos_webhook_secret,
        workos_webhook_secret_file,
        max_connections,
        keep_alive,
        trusted_proxies,
    } = args;
    let listen = address(reader, listen, port);
    let secrets = reader.workos_secret(SECRET, workos_webhook_secret, workos_webhook_secret_file);
    workos::refuse_sample(reader, SECRET, secrets.as_ref(), api_url);
    let keys = reader
        .required_secret(SECRET, secrets)
        .and_then(|secrets| reader.webhook_keys(SECRET, &secrets));
    let max_connections = reader.within("AUTHPOST_MAX_CONNECTIONS", &max_connections, 1, 1_000_000);
    let (least, most) = (Duration::from_secs(1), Duration::from_hours(1));
    let keep_alive = reader.duration("AUTHPOST_KEEP_ALIVE", &keep_alive, least, most);
    let proxies =
        trusted_proxies.map_or(Some(Proxies::default()), |text| proxies(reader, &text))?;
    let sign_in = sign_in?.map(|mut sign_in| {
        sign_in.config.proxies = proxies.clone();
        sign_in
    });
    Some(IngressSettings {
        listen: listen?,
        keys: Live::new(keys?),
        max_connections: usize::try_from(max_connections?).ok()?,
        keep_alive: keep_alive?,
        proxies,
        sign_in,
    })
}

/// The address of the public listener.
fn address(
    reader: &mut Reader,
    listen: Option<String>,
    port: Option<String>,
) -> Option<SocketAddr> {
    match (listen, port) {
        (None, Some(port)) => {
            let port = reader.within("PORT", &port, 1, u64::from(u16::MAX))?;
            Some((Ipv4Addr::UNSPECIFIED, u16::try_from(port).ok()?).into())
        }
        (listen, _) => {
            let listen = listen.as_deref().unwrap_or("127.0.0.1:8080");
            reader.parsed("AUTHPOST_LISTEN", listen, process::ADDRESS)
        }
    }
}

fn proxies(reader: &mut Reader, text: &str) -> Option<Proxies> {
    const VARIABLE: &str = "AUTHPOST_TRUSTED_PROXIES";
    let network = |text: &str| {
        let text = text.trim();
        text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
    };
    let all: Option<Vec<_>> = text.split(',').map(network).collect();
    let all =
        reader.note(VARIABLE, all.ok_or("must be comma-separated networks such as 10.0.0.0/8"))?;
    reader.note(VARIABLE, Proxies::new(all))
}
