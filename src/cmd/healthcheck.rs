//! `authpost healthcheck`: checks a running process, for images without a shell and curl.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

use super::{block_on, print, usage_error};

/// Longest wait for the answer.
const LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct HealthcheckArgs {
    /// Address of the private listener
    #[arg(
        long,
        env = "AUTHPOST_ADMIN_LISTEN",
        default_value = "127.0.0.1:9090",
        value_name = "ADDRESS"
    )]
    admin_listen: String,
    /// Check whether it is alive instead of whether it is ready
    #[arg(long)]
    alive: bool,
}

pub(super) fn healthcheck(args: &HealthcheckArgs) -> ExitCode {
    let Ok(address) = args.admin_listen.parse::<SocketAddr>() else {
        let rule = "must be an address and a port such as 127.0.0.1:9090";
        return usage_error(&format_args!("AUTHPOST_ADMIN_LISTEN {rule}"));
    };
    // A process that listens on every address is reached on the loopback address.
    let anywhere = address.ip().is_unspecified();
    let ip = if anywhere { Ipv4Addr::LOCALHOST.into() } else { address.ip() };
    let path = if args.alive { "livez" } else { "readyz" };
    let url = format!("http://{}/{path}", SocketAddr::new(ip, address.port()));
    block_on(async move {
        let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let asked = async {
            let response = client
                .get(url.parse()?)
                .await
                .map_err(|_| anyhow::anyhow!("nothing answers at {url}"))?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            anyhow::Ok((status, body))
        };
        let (status, body) = tokio::time::timeout(LIMIT, asked)
            .await
            .map_err(|_| anyhow::anyhow!("no answer in time"))??;
        print(&String::from_utf8_lossy(&body));
        Ok(if status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}
