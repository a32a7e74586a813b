//! The options as clap sees them: names, defaults and help. Everything here is text; `read` gives it meaning.

use std::path::PathBuf;

use clap::Args;

/// Options of every long-running command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Process")]
pub struct Process {
    /// Address of the private listener: /metrics, /livez, /readyz
    #[arg(long, env = "AUTHPOST_ADMIN_LISTEN", default_value = "127.0.0.1:9090", value_name = "ADDRESS")]
    pub admin_listen: String,
    /// How log lines look: "text" or "json"
    #[arg(long, env = "AUTHPOST_LOG", default_value = "text", value_name = "FORMAT")]
    pub log: String,
    /// Log levels, as in "info,worker=debug"
    #[arg(long, env = "RUST_LOG", default_value = "info", value_name = "LEVELS")]
    pub log_levels: String,
    /// How long a stopping process may take to finish what is in hand
    #[arg(long, env = "AUTHPOST_GRACE", default_value = "25 s", value_name = "DURATION")]
    pub grace: String,
    /// PEM file of one more certificate authority to trust, for WorkOS, the relay, RabbitMQ and Redis
    #[arg(long, env = "AUTHPOST_EXTRA_CA", value_name = "FILE")]
    pub extra_ca: Option<PathBuf>,
}

/// Where traces go.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Traces (on when OTEL_EXPORTER_OTLP_ENDPOINT is set)")]
pub struct Traces {
    /// OpenTelemetry collector that takes OTLP over HTTP: http://collector:4318; /v1/traces is added
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Headers that the collector asks for: name=value, with commas between, percent-encoded
    #[arg(long, env = "OTEL_EXPORTER_OTLP_HEADERS", hide_env_values = true, value_name = "HEADERS")]
    pub otlp_headers: Option<String>,
    /// File that holds OTEL_EXPORTER_OTLP_HEADERS
    #[arg(long, env = "OTEL_EXPORTER_OTLP_HEADERS_FILE", value_name = "FILE")]
    pub otlp_headers_file: Option<PathBuf>,
    /// Form of OTLP; there is one
    #[arg(long, env = "OTEL_EXPORTER_OTLP_PROTOCOL", default_value = "http/protobuf", value_name = "PROTOCOL")]
    pub otlp_protocol: String,
    /// What traces call this service (default: authpost)
    #[arg(long, env = "OTEL_SERVICE_NAME", value_name = "NAME")]
    pub otel_service_name: Option<String>,
    /// What else they say of it: name=value, with commas between, percent-encoded
    #[arg(long, env = "OTEL_RESOURCE_ATTRIBUTES", value_name = "ATTRIBUTES")]
    pub otel_resource_attributes: Option<String>,
    /// Which traces are kept: always_on, always_off, traceidratio, or one of them with parentbased_ before it
    #[arg(long, env = "OTEL_TRACES_SAMPLER", default_value = "parentbased_always_on", value_name = "SAMPLER")]
    pub otel_traces_sampler: String,
    /// Share of traces that traceidratio keeps, from 0 to 1
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", default_value = "1", value_name = "RATIO")]
    pub otel_traces_sampler_arg: String,
}

/// Where events wait and claims are kept.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Engine (RabbitMQ and Redis when both URLs are set, one SQLite file when neither is)")]
pub struct Engine {
    /// RabbitMQ: amqp://user:password@host:5672/vhost, or amqps://
    #[arg(long, env = "AMQP_URL", hide_env_values = true, value_name = "URL")]
    pub amqp_url: Option<String>,
    /// File that holds AMQP_URL
    #[arg(long, env = "AMQP_URL_FILE", value_name = "FILE")]
    pub amqp_url_file: Option<PathBuf>,
    /// Redis: redis://user:password@host:6379/0, or rediss://
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL")]
    pub redis_url: Option<String>,
    /// File that holds REDIS_URL
    #[arg(long, env = "REDIS_URL_FILE", value_name = "FILE")]
    pub redis_url_file: Option<PathBuf>,
    /// Folder of the embedded engine's file
    #[arg(long, env = "AUTHPOST_DATA_DIR", default_value = "./data", value_name = "FOLDER")]
    pub data_dir: PathBuf,
    /// Prefix of queue, exchange and Redis key names
    #[arg(long, env = "AUTHPOST_QUEUE_PREFIX", default_value = "authpost", value_name = "NAME")]
    pub queue_prefix: String,
    /// Events that may wait before new ones are refused with 503
    #[arg(long, env = "AUTHPOST_QUEUE_MAX", default_value = "200000", value_name = "COUNT")]
    pub queue_max: String,
}

/// Options of the HTTP front.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Ingress")]
pub struct Ingress {
    /// Address of the public listener
    #[arg(long, env = "AUTHPOST_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: String,
    /// Secret of the WorkOS webhook endpoint; several live ones with commas between
    #[arg(long, env = "WORKOS_WEBHOOK_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub workos_webhook_secret: Option<String>,
    /// File that holds WORKOS_WEBHOOK_SECRET
    #[arg(long, env = "WORKOS_WEBHOOK_SECRET_FILE", value_name = "FILE")]
    pub workos_webhook_secret_file: Option<PathBuf>,
    /// Connections served at once
    #[arg(long, env = "AUTHPOST_MAX_CONNECTIONS", default_value = "4096", value_name = "COUNT")]
    pub max_connections: String,
}

/// Options of talking to WorkOS.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "WorkOS")]
pub struct Workos {
    /// WorkOS API key (sk_…), to fetch codes and to sign people in with
    #[arg(long, env = "WORKOS_API_KEY", hide_env_values = true, value_name = "KEY")]
    pub workos_api_key: Option<String>,
    /// File that holds WORKOS_API_KEY
    #[arg(long, env = "WORKOS_API_KEY_FILE", value_name = "FILE")]
    pub workos_api_key_file: Option<PathBuf>,
    /// Base URL of the WorkOS API; plain http:// only for this machine, unless switched on
    #[arg(long, env = "WORKOS_API_URL", default_value = "https://api.workos.com", value_name = "URL")]
    pub workos_api_url: String,
    /// Allow a plain http:// WORKOS_API_URL on another machine (WorkOS's emulator in a container)
    #[arg(long, env = "AUTHPOST_WORKOS_PLAINTEXT", default_value = "false", value_name = "BOOL")]
    pub workos_plaintext: String,
    /// Longest wait for an answer of the WorkOS API
    #[arg(long, env = "AUTHPOST_WORKOS_TIMEOUT", default_value = "5 s", value_name = "DURATION")]
    pub workos_timeout: String,
}

/// Options of the sign-in half.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sign-in (on when WORKOS_CLIENT_ID is set)")]
pub struct SignIn {
    /// Client ID of the WorkOS environment (client_…)
    #[arg(long, env = "WORKOS_CLIENT_ID", value_name = "ID")]
    pub workos_client_id: Option<String>,
    /// Base URL that browsers are sent to, such as a custom AuthKit domain (default: WORKOS_API_URL)
    #[arg(long, env = "WORKOS_SIGNIN_BASE_URL", value_name = "URL")]
    pub workos_signin_base_url: Option<String>,
    /// Origins (scheme, host, port) of pages that may sign people in, and get them back from AuthKit; with commas between
    #[arg(long, env = "AUTHPOST_SIGNIN_ORIGINS", value_name = "ORIGINS")]
    pub signin_origins: Option<String>,
    /// Secret that sign-ins under way are signed with; the same in every replica (default: derived from WORKOS_API_KEY)
    #[arg(long, env = "AUTHPOST_STATE_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub state_secret: Option<String>,
    /// File that holds AUTHPOST_STATE_SECRET
    #[arg(long, env = "AUTHPOST_STATE_SECRET_FILE", value_name = "FILE")]
    pub state_secret_file: Option<PathBuf>,
    /// Issuers of session tokens that are believed, with commas between (default: what WorkOS uses for these URLs and this client)
    #[arg(long, env = "AUTHPOST_SIGNIN_ISSUERS", value_name = "URLS")]
    pub signin_issuers: Option<String>,
    /// Sign-ins begun, and finished, a minute and client address
    #[arg(long, env = "AUTHPOST_SIGNIN_RATE", default_value = "60", value_name = "COUNT")]
    pub signin_rate: String,
    /// Networks of proxies whose X-Forwarded-For is believed: 10.0.0.0/8, with commas between
    #[arg(long, env = "AUTHPOST_TRUSTED_PROXIES", value_name = "NETWORKS")]
    pub trusted_proxies: Option<String>,
    /// Send people to the application's own login for now; sessions and sign-ins under way go on
    #[arg(long, env = "AUTHPOST_DISABLE_WORKOS_LOGIN", default_value = "false", default_missing_value = "true", num_args = 0..=1, value_name = "BOOL")]
    pub disable_workos_login: String,
    /// Serve a small login page at /login (on 127.0.0.1 its own origin need not be listed)
    #[arg(long, env = "AUTHPOST_LOGIN_PAGE", default_value = "false", default_missing_value = "true", num_args = 0..=1, value_name = "BOOL")]
    pub login_page: String,
}

/// Options of the mailing back.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Worker")]
pub struct Worker {
    /// Codes read from WorkOS a second and process; 0 for no limit
    #[arg(long, env = "AUTHPOST_WORKOS_RATE", default_value = "90", value_name = "COUNT")]
    pub workos_rate: String,
    /// The relay: smtps://user:password@host:465, smtp://user:password@host:587 (STARTTLS required), or smtp://host:25?tls=none
    #[arg(long, env = "SMTP_URL", hide_env_values = true, value_name = "URL")]
    pub smtp_url: Option<String>,
    /// File that holds SMTP_URL
    #[arg(long, env = "SMTP_URL_FILE", value_name = "FILE")]
    pub smtp_url_file: Option<PathBuf>,
    /// Longest wait for each step of connecting to the relay
    #[arg(long, env = "AUTHPOST_SMTP_CONNECT_TIMEOUT", default_value = "4 s", value_name = "DURATION")]
    pub smtp_connect_timeout: String,
    /// Longest wait for the relay's answer to each command
    #[arg(long, env = "AUTHPOST_SMTP_COMMAND_TIMEOUT", default_value = "5 s", value_name = "DURATION")]
    pub smtp_command_timeout: String,
    /// Longest wait for the relay's answer to a whole mail
    #[arg(long, env = "AUTHPOST_SMTP_TIMEOUT", default_value = "40 s", value_name = "DURATION")]
    pub smtp_timeout: String,
    /// Name given to the relay in EHLO (default: the domain of MAIL_FROM)
    #[arg(long, env = "AUTHPOST_SMTP_HELLO", value_name = "NAME")]
    pub smtp_hello: Option<String>,
    /// Sender of the mails: login@example.com, or Example <login@example.com>
    #[arg(long, env = "MAIL_FROM", value_name = "ADDRESS")]
    pub mail_from: Option<String>,
    /// What the mails call your application (default: the name or the domain of MAIL_FROM)
    #[arg(long, env = "AUTHPOST_APP_NAME", value_name = "NAME")]
    pub app_name: Option<String>,
    /// Folder with templates of your own: login_code.subject.txt, login_code.txt, login_code.html
    #[arg(long, env = "AUTHPOST_TEMPLATE_DIR", value_name = "FOLDER")]
    pub template_dir: Option<PathBuf>,
    /// Events worked on at once
    #[arg(long, env = "AUTHPOST_CONCURRENCY", default_value = "32", value_name = "COUNT")]
    pub concurrency: String,
    /// How long a mailed event is remembered
    #[arg(long, env = "AUTHPOST_DEDUPE_TTL", default_value = "3 days", value_name = "DURATION")]
    pub dedupe_ttl: String,
    /// While Redis is away: "hold" the events, or "send" after 20 s on this process's own memory
    #[arg(long, env = "AUTHPOST_REDIS_OUTAGE", default_value = "hold", value_name = "WHAT")]
    pub redis_outage: String,
    /// When nobody can know whether a mail is out: "resend" it under its Message-ID, or "dead-letter" the event
    #[arg(long, env = "AUTHPOST_ON_AMBIGUITY", default_value = "resend", value_name = "WHAT")]
    pub on_ambiguity: String,
    /// Ask WorkOS every 30 s what the webhooks have missed: "on" or "off"; one of the replicas does
    #[arg(long, env = "AUTHPOST_RECONCILE", default_value = "off", value_name = "WHAT")]
    pub reconcile: String,
}

/// `authpost serve`
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// See [`Ingress`].
    #[command(flatten)]
    pub ingress: Ingress,
    /// See [`Worker`].
    #[command(flatten)]
    pub worker: Worker,
    /// See [`Workos`].
    #[command(flatten)]
    pub workos: Workos,
    /// See [`SignIn`].
    #[command(flatten)]
    pub sign_in: SignIn,
    /// See [`Engine`].
    #[command(flatten)]
    pub engine: Engine,
    /// See [`Process`].
    #[command(flatten)]
    pub process: Process,
    /// See [`Traces`].
    #[command(flatten)]
    pub traces: Traces,
}

/// `authpost ingress`
#[derive(Debug, Clone, Args)]
pub struct IngressArgs {
    /// See [`Ingress`].
    #[command(flatten)]
    pub ingress: Ingress,
    /// See [`Workos`].
    #[command(flatten)]
    pub workos: Workos,
    /// See [`SignIn`].
    #[command(flatten)]
    pub sign_in: SignIn,
    /// See [`Engine`].
    #[command(flatten)]
    pub engine: Engine,
    /// See [`Process`].
    #[command(flatten)]
    pub process: Process,
    /// See [`Traces`].
    #[command(flatten)]
    pub traces: Traces,
}

/// `authpost worker`
#[derive(Debug, Clone, Args)]
pub struct WorkerArgs {
    /// See [`Worker`].
    #[command(flatten)]
    pub worker: Worker,
    /// See [`Workos`].
    #[command(flatten)]
    pub workos: Workos,
    /// See [`Engine`].
    #[command(flatten)]
    pub engine: Engine,
    /// See [`Process`].
    #[command(flatten)]
    pub process: Process,
    /// See [`Traces`].
    #[command(flatten)]
    pub traces: Traces,
}

/// Options of commands that look into an installation from outside.
#[derive(Debug, Clone, Args)]
pub struct Operator {
    /// See [`Engine`].
    #[command(flatten)]
    pub engine: Engine,
    /// PEM file of one more certificate authority to trust, for RabbitMQ and Redis
    #[arg(long, env = "AUTHPOST_EXTRA_CA", value_name = "FILE", help_heading = "Process")]
    pub extra_ca: Option<PathBuf>,
    /// Log levels, as in "info"
    #[arg(long, env = "RUST_LOG", default_value = "warn", value_name = "LEVELS", help_heading = "Process")]
    pub log_levels: String,
}
