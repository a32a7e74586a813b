//! The options of every process, and of the engine it runs on.

use std::path::PathBuf;

use clap::Args;
use secrecy::SecretString;

/// Options of every long-running command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Process")]
pub struct ProcessOptions {
    /// Address of the private listener: /metrics, /livez, /readyz
    #[arg(
        long,
        env = "AUTHPOST_ADMIN_LISTEN",
        default_value = "127.0.0.1:9090",
        value_name = "ADDRESS"
    )]
    pub admin_listen: String,
    /// Comma-separated host names that the private listener answers to, besides addresses, names
    /// without a dot and names of private networks (.local, .internal, .svc, .svc.cluster.local)
    #[arg(long, env = "AUTHPOST_ADMIN_HOSTS", value_name = "NAMES")]
    pub admin_hosts: Option<String>,
    /// Format of log lines: "text" or "json"
    #[arg(long, env = "AUTHPOST_LOG", default_value = "text", value_name = "FORMAT")]
    pub log: String,
    /// Log levels, such as "info" or "info,worker=debug"
    #[arg(long, env = "RUST_LOG", default_value = "info", value_name = "LEVELS")]
    pub log_levels: String,
    /// Time for a stopping process to finish the requests and events in progress
    #[arg(long, env = "AUTHPOST_GRACE", default_value = "25 s", value_name = "DURATION")]
    pub grace: String,
    /// Threads that work on requests and events; one serves thousands a second, and for more than
    /// one core takes, add replicas or threads
    #[arg(long, env = "AUTHPOST_THREADS", default_value = "1", value_name = "COUNT")]
    pub threads: String,
    #[command(flatten)]
    pub outgoing: OutgoingOptions,
}

/// How other servers are reached.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Outgoing connections")]
pub struct OutgoingOptions {
    /// PEM file with another certificate authority to trust for WorkOS, the relay, RabbitMQ and
    /// Redis
    #[arg(long, env = "AUTHPOST_EXTRA_CA", value_name = "FILE")]
    pub extra_ca: Option<PathBuf>,
    /// HTTP proxy for WorkOS and the collector, such as proxy.example.com:3128, if their
    /// URLs begin with https://; also https_proxy
    #[arg(long, env = "HTTPS_PROXY", hide_env_values = true, value_name = "URL")]
    pub https_proxy: Option<SecretString>,
    /// The name that most tools give it
    #[arg(long = "https-proxy-lowercase", env = "https_proxy", hide = true)]
    pub https_proxy_lowercase: Option<SecretString>,
    /// Comma-separated names, addresses and networks that are reached without the proxy; also
    /// no_proxy
    #[arg(long, env = "NO_PROXY", value_name = "HOSTS")]
    pub no_proxy: Option<String>,
    /// The name that most tools give it
    #[arg(long = "no-proxy-lowercase", env = "no_proxy", hide = true)]
    pub no_proxy_lowercase: Option<String>,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Traces (on when OTEL_EXPORTER_OTLP_ENDPOINT is set)")]
pub struct TraceOptions {
    /// OpenTelemetry collector to send traces to by OTLP over HTTP, such as http://collector:4318;
    /// /v1/traces is appended
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Headers for the collector: comma-separated name=value pairs, percent-encoded; as a flag,
    /// visible to other users of this machine
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_HEADERS",
        hide_env_values = true,
        value_name = "HEADERS"
    )]
    pub otlp_headers: Option<SecretString>,
    /// File with the value of OTEL_EXPORTER_OTLP_HEADERS
    #[arg(long, env = "OTEL_EXPORTER_OTLP_HEADERS_FILE", value_name = "FILE")]
    pub otlp_headers_file: Option<PathBuf>,
    /// OTLP protocol; only http/protobuf is supported
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_PROTOCOL",
        default_value = "http/protobuf",
        value_name = "PROTOCOL"
    )]
    pub otlp_protocol: String,
    /// Service name in traces (default: authpost)
    #[arg(long, env = "OTEL_SERVICE_NAME", value_name = "NAME")]
    pub otel_service_name: Option<String>,
    /// Further resource attributes in traces: comma-separated name=value pairs, percent-encoded
    #[arg(long, env = "OTEL_RESOURCE_ATTRIBUTES", value_name = "ATTRIBUTES")]
    pub otel_resource_attributes: Option<String>,
    /// Which traces to keep: always_on, always_off or traceidratio, optionally prefixed with
    /// parentbased_
    #[arg(
        long,
        env = "OTEL_TRACES_SAMPLER",
        default_value = "parentbased_always_on",
        value_name = "SAMPLER"
    )]
    pub otel_traces_sampler: String,
    /// Share of traces that traceidratio keeps, from 0 to 1
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", default_value = "1", value_name = "RATIO")]
    pub otel_traces_sampler_arg: String,
}

#[derive(Debug, Clone, Args)]
#[command(
    next_help_heading = "Engine (RabbitMQ and Redis when both URLs are set, one SQLite file when neither is)"
)]
pub struct EngineOptions {
    /// URL of RabbitMQ: amqp://user:password@host:5672/vhost, or amqps://; several brokers have white
    /// space between them; as a flag, visible to other users of this machine
    #[arg(long, env = "AMQP_URL", hide_env_values = true, value_name = "URL")]
    pub amqp_url: Option<SecretString>,
    /// File with the value of AMQP_URL
    #[arg(long, env = "AMQP_URL_FILE", value_name = "FILE")]
    pub amqp_url_file: Option<PathBuf>,
    /// PEM file with a client certificate for RabbitMQ, and with AUTHPOST_AMQP_CLIENT_KEY its private
    /// key; with ?auth_mechanism=external in AMQP_URL it takes the place of the password
    #[arg(long, env = "AUTHPOST_AMQP_CLIENT_CERT", value_name = "FILE")]
    pub amqp_client_cert: Option<PathBuf>,
    /// PEM file with the private key of AUTHPOST_AMQP_CLIENT_CERT
    #[arg(long, env = "AUTHPOST_AMQP_CLIENT_KEY", value_name = "FILE")]
    pub amqp_client_key: Option<PathBuf>,
    /// URL of Redis: redis://user:password@host:6379/0, or rediss://; for Sentinel
    /// redis+sentinel://user:password@host:26379,host:26379/NAME/0; several nodes of a cluster have
    /// white space between them; as a flag, visible to other users of this machine
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL")]
    pub redis_url: Option<SecretString>,
    /// File with the value of REDIS_URL
    #[arg(long, env = "REDIS_URL_FILE", value_name = "FILE")]
    pub redis_url_file: Option<PathBuf>,
    /// PEM file with a client certificate for Redis, and with AUTHPOST_REDIS_CLIENT_KEY its private
    /// key
    #[arg(long, env = "AUTHPOST_REDIS_CLIENT_CERT", value_name = "FILE")]
    pub redis_client_cert: Option<PathBuf>,
    /// PEM file with the private key of AUTHPOST_REDIS_CLIENT_CERT
    #[arg(long, env = "AUTHPOST_REDIS_CLIENT_KEY", value_name = "FILE")]
    pub redis_client_key: Option<PathBuf>,
    /// Directory of the embedded engine's database
    #[arg(long, env = "AUTHPOST_DATA_DIR", default_value = "./data", value_name = "DIRECTORY")]
    pub data_dir: PathBuf,
    /// Prefix for the names of queues, exchanges and Redis keys
    #[arg(long, env = "AUTHPOST_QUEUE_PREFIX", default_value = "authpost", value_name = "NAME")]
    pub queue_prefix: String,
    /// Most events that may wait; beyond it new ones are refused with 503
    #[arg(long, env = "AUTHPOST_QUEUE_MAX", default_value = "200000", value_name = "COUNT")]
    pub queue_max: String,
    /// Most dead letters that are kept; beyond it the oldest are deleted
    #[arg(long, env = "AUTHPOST_DEAD_MAX", default_value = "100000", value_name = "COUNT")]
    pub dead_max: String,
}

impl EngineOptions {
    /// Whether RabbitMQ and Redis are configured, rather than the embedded engine.
    pub fn is_distributed(&self) -> bool {
        self.amqp_url.is_some()
            || self.amqp_url_file.is_some()
            || self.redis_url.is_some()
            || self.redis_url_file.is_some()
    }
}

/// Options of commands that inspect an installation.
#[derive(Debug, Clone, Args)]
pub struct OperatorOptions {
    #[command(flatten)]
    pub engine: EngineOptions,
    #[command(flatten)]
    pub outgoing: OutgoingOptions,
    /// Log levels, such as "info"
    #[arg(
        long,
        env = "RUST_LOG",
        default_value = "warn",
        value_name = "LEVELS",
        help_heading = "Process"
    )]
    pub log_levels: String,
}
