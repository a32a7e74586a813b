//! The options of the ingress, the worker, and the WorkOS API that both use.

use std::path::PathBuf;

use clap::Args;
use secrecy::SecretString;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Ingress")]
pub struct IngressOptions {
    /// Address of the public listener (default: 127.0.0.1:8080, or 0.0.0.0 and PORT)
    #[arg(long, env = "AUTHPOST_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Port of the public listener on every IPv4 address, as hosting services set it; only if
    /// AUTHPOST_LISTEN is not set
    #[arg(long, env = "PORT", value_name = "PORT")]
    pub port: Option<String>,
    /// Secret of the WorkOS webhook endpoint; separate several with commas while you rotate it; as
    /// a flag, visible to other users of this machine
    #[arg(long, env = "WORKOS_WEBHOOK_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub workos_webhook_secret: Option<SecretString>,
    /// File with the value of WORKOS_WEBHOOK_SECRET
    #[arg(long, env = "WORKOS_WEBHOOK_SECRET_FILE", value_name = "FILE")]
    pub workos_webhook_secret_file: Option<PathBuf>,
    /// Most connections served at once
    #[arg(long, env = "AUTHPOST_MAX_CONNECTIONS", default_value = "4096", value_name = "COUNT")]
    pub max_connections: String,
    /// How long a connection may stay open without a request; should be longer than the proxy in
    /// front keeps it
    #[arg(long, env = "AUTHPOST_KEEP_ALIVE", default_value = "75 s", value_name = "DURATION")]
    pub keep_alive: String,
    /// Comma-separated networks of proxies whose X-Forwarded-For is trusted, such as 10.0.0.0/8
    #[arg(long, env = "AUTHPOST_TRUSTED_PROXIES", value_name = "NETWORKS")]
    pub trusted_proxies: Option<String>,
}

/// Options for the WorkOS API.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "WorkOS")]
pub struct WorkosOptions {
    /// WorkOS API key (sk_…), used to fetch codes and to sign people in; as a flag, visible to
    /// other users of this machine
    #[arg(long, env = "WORKOS_API_KEY", hide_env_values = true, value_name = "KEY")]
    pub workos_api_key: Option<SecretString>,
    /// File with the value of WORKOS_API_KEY
    #[arg(long, env = "WORKOS_API_KEY_FILE", value_name = "FILE")]
    pub workos_api_key_file: Option<PathBuf>,
    /// Base URL of the WorkOS API; plain http:// is accepted for this machine only, see
    /// AUTHPOST_WORKOS_PLAINTEXT
    #[arg(
        long,
        env = "WORKOS_API_URL",
        default_value = "https://api.workos.com",
        value_name = "URL"
    )]
    pub workos_api_url: String,
    /// Accept a plain http:// WORKOS_API_URL on another machine, such as WorkOS's emulator in a
    /// container
    #[arg(long, env = "AUTHPOST_WORKOS_PLAINTEXT", default_value = "false", value_name = "BOOL")]
    pub workos_plaintext: String,
    /// Timeout for one call to the WorkOS API
    #[arg(long, env = "AUTHPOST_WORKOS_TIMEOUT", default_value = "5 s", value_name = "DURATION")]
    pub workos_timeout: String,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sign-in (on when WORKOS_CLIENT_ID is set)")]
pub struct SignInOptions {
    /// Client ID of the WorkOS environment (client_…)
    #[arg(long, env = "WORKOS_CLIENT_ID", value_name = "ID")]
    pub workos_client_id: Option<String>,
    /// Base URL of /user_management/authorize, where browsers are sent to sign in: the domain of
    /// the API, yours if you have a custom one, and not that of AuthKit's pages (default:
    /// WORKOS_API_URL)
    #[arg(long, env = "WORKOS_SIGNIN_BASE_URL", value_name = "URL")]
    pub workos_signin_base_url: Option<String>,
    /// Comma-separated origins (scheme, host, port) of the pages that may sign people in; AuthKit
    /// sends people back only to them; https://*.preview.example.com stands for any one label
    #[arg(long, env = "AUTHPOST_SIGNIN_ORIGINS", value_name = "ORIGINS")]
    pub signin_origins: Option<String>,
    /// Secret that signs the state of a sign-in; must be the same in every replica (default:
    /// derived from WORKOS_API_KEY); as a flag, visible to other users of this machine
    #[arg(long, env = "AUTHPOST_STATE_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub state_secret: Option<SecretString>,
    /// File with the value of AUTHPOST_STATE_SECRET
    #[arg(long, env = "AUTHPOST_STATE_SECRET_FILE", value_name = "FILE")]
    pub state_secret_file: Option<PathBuf>,
    /// Where AuthKit sends browsers back to when a sign-in is started without a redirect_url, within
    /// those origins (default: the callback page of the login page)
    #[arg(long, env = "AUTHPOST_SIGNIN_REDIRECT_URL", value_name = "URL")]
    pub signin_redirect_url: Option<String>,
    /// How long a person may take to sign in
    #[arg(
        long,
        env = "AUTHPOST_SIGNIN_STATE_LIFE",
        default_value = "1 h",
        value_name = "DURATION"
    )]
    pub signin_state_life: String,
    /// Domain whose hosts all get the session's cookies, such as example.com (default: one host
    /// only, which no other host can interfere with)
    #[arg(long, env = "AUTHPOST_COOKIE_DOMAIN", value_name = "DOMAIN")]
    pub cookie_domain: Option<String>,
    /// Let in only people with an active membership in an organization
    #[arg(
        long, env = "AUTHPOST_REQUIRE_ORGANIZATION", default_value = "false",
        default_missing_value = "true", num_args = 0..=1, value_name = "BOOL"
    )]
    pub require_organization: String,
    /// Comma-separated issuers to accept in session tokens (default: those that WorkOS uses for
    /// these URLs and this client)
    #[arg(long, env = "AUTHPOST_SIGNIN_ISSUERS", value_name = "URLS")]
    pub signin_issuers: Option<String>,
    /// Most sign-ins started, most completed, and most refused refreshes, per minute and client
    /// address
    #[arg(long, env = "AUTHPOST_SIGNIN_RATE", default_value = "60", value_name = "COUNT")]
    pub signin_rate: String,
    /// Most calls to WorkOS per second that sign-ins and refreshes cause in this process; together
    /// with AUTHPOST_WORKOS_RATE at most 95 for one API key
    #[arg(long, env = "AUTHPOST_SIGNIN_WORKOS_RATE", default_value = "30", value_name = "COUNT")]
    pub signin_workos_rate: String,
    /// Send people to the application's own login instead; existing sessions and started sign-ins
    /// continue
    #[arg(
        long, env = "AUTHPOST_DISABLE_WORKOS_LOGIN", default_value = "false",
        default_missing_value = "true", num_args = 0..=1, value_name = "BOOL"
    )]
    pub disable_workos_login: String,
    /// Serve a small login page at /login; on a loopback address its own origin need not be listed
    #[arg(
        long, env = "AUTHPOST_LOGIN_PAGE", default_value = "false",
        default_missing_value = "true", num_args = 0..=1, value_name = "BOOL"
    )]
    pub login_page: String,
}

/// What the mails look like.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Mails")]
pub struct MailOptions {
    /// Sender of the mails: login@example.com or Example <login@example.com>
    #[arg(long, env = "MAIL_FROM", value_name = "ADDRESS")]
    pub mail_from: Option<String>,
    /// Name of your application in the mails (default: the name or the domain of MAIL_FROM)
    #[arg(long, env = "AUTHPOST_APP_NAME", value_name = "NAME")]
    pub app_name: Option<String>,
    /// Directory with your own templates (login_code.subject.txt, login_code.txt, login_code.html), words
    /// (locales/*.ftl) and brand (brand.toml)
    #[arg(long, env = "AUTHPOST_TEMPLATE_DIR", value_name = "DIRECTORY")]
    pub template_dir: Option<PathBuf>,
    /// Language of the mails to people of whom none is known: the tag of one that there are words of
    #[arg(long, env = "AUTHPOST_LOCALE", default_value = "en", value_name = "LANGUAGE")]
    pub locale: String,
    /// Domain that codes are entered at: adds a last line `@domain #code` to the text of the mails
    #[arg(long, env = "AUTHPOST_CODE_DOMAIN", value_name = "DOMAIN")]
    pub code_domain: Option<String>,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Worker")]
pub struct WorkerOptions {
    /// Most codes and users read from WorkOS per second by this process; 0 for no limit
    #[arg(long, env = "AUTHPOST_WORKOS_RATE", default_value = "60", value_name = "COUNT")]
    pub workos_rate: String,
    /// URL of the relay: smtps://user:password@host:465, smtp://user:password@host:587 (STARTTLS
    /// required), or smtp://host:25?tls=none; several in order of preference with white space
    /// between them; as a flag, visible to other users of this machine
    #[arg(long, env = "SMTP_URL", hide_env_values = true, value_name = "URL")]
    pub smtp_url: Option<SecretString>,
    /// File with the value of SMTP_URL
    #[arg(long, env = "SMTP_URL_FILE", value_name = "FILE")]
    pub smtp_url_file: Option<PathBuf>,
    /// Timeout until the relay is ready for mails: TCP, TLS, greeting and login
    #[arg(
        long,
        env = "AUTHPOST_SMTP_CONNECT_TIMEOUT",
        default_value = "20 s",
        value_name = "DURATION"
    )]
    pub smtp_connect_timeout: String,
    /// Timeout for the relay's answers to the envelope of a mail
    #[arg(
        long,
        env = "AUTHPOST_SMTP_COMMAND_TIMEOUT",
        default_value = "15 s",
        value_name = "DURATION"
    )]
    pub smtp_command_timeout: String,
    /// Timeout for the relay's answer to a whole mail
    #[arg(long, env = "AUTHPOST_SMTP_TIMEOUT", default_value = "40 s", value_name = "DURATION")]
    pub smtp_timeout: String,
    /// TOML file with relays instead of SMTP_URL, for limits, domains, header fields and
    /// certificates of each relay
    #[arg(long, env = "AUTHPOST_RELAYS_FILE", value_name = "FILE")]
    pub relays_file: Option<PathBuf>,
    /// URL of an OAuth 2.0 token endpoint, for relays that take access tokens instead of a password
    /// (XOAUTH2, OAUTHBEARER), such as those of Microsoft 365 and Google; the user is that of
    /// SMTP_URL, which then has no password
    #[arg(long, env = "AUTHPOST_SMTP_OAUTH_TOKEN_URL", value_name = "URL")]
    pub smtp_oauth_token_url: Option<String>,
    /// Client ID for the OAuth 2.0 token endpoint
    #[arg(long, env = "AUTHPOST_SMTP_OAUTH_CLIENT_ID", value_name = "ID")]
    pub smtp_oauth_client_id: Option<String>,
    /// Client secret for the OAuth 2.0 token endpoint; as a flag, visible to other users of this
    /// machine
    #[arg(
        long,
        env = "AUTHPOST_SMTP_OAUTH_CLIENT_SECRET",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub smtp_oauth_client_secret: Option<SecretString>,
    /// File with the value of AUTHPOST_SMTP_OAUTH_CLIENT_SECRET
    #[arg(long, env = "AUTHPOST_SMTP_OAUTH_CLIENT_SECRET_FILE", value_name = "FILE")]
    pub smtp_oauth_client_secret_file: Option<PathBuf>,
    /// Scope of the OAuth 2.0 access token, as the mail host documents it
    #[arg(long, env = "AUTHPOST_SMTP_OAUTH_SCOPE", value_name = "SCOPE")]
    pub smtp_oauth_scope: Option<String>,
    /// PEM file with a client certificate for the relays, and with AUTHPOST_SMTP_CLIENT_KEY its
    /// private key
    #[arg(long, env = "AUTHPOST_SMTP_CLIENT_CERT", value_name = "FILE")]
    pub smtp_client_cert: Option<PathBuf>,
    /// PEM file with the private key of AUTHPOST_SMTP_CLIENT_CERT
    #[arg(long, env = "AUTHPOST_SMTP_CLIENT_KEY", value_name = "FILE")]
    pub smtp_client_key: Option<PathBuf>,
    /// Most connections to each relay at once (default: AUTHPOST_CONCURRENCY); fewer for a while
    /// after a relay turned some away
    #[arg(long, env = "AUTHPOST_SMTP_CONNECTIONS", value_name = "COUNT")]
    pub smtp_connections: Option<String>,
    /// With several relays: one that is not ready for a mail within this time gets the next one
    /// beside it
    #[arg(long, env = "AUTHPOST_RELAY_HEDGE", default_value = "1 s", value_name = "DURATION")]
    pub relay_hedge: String,
    /// Host name to send in EHLO (default: the domain of MAIL_FROM)
    #[arg(long, env = "AUTHPOST_SMTP_HELLO", value_name = "NAME")]
    pub smtp_hello: Option<String>,
    /// Whether to read the language of users from WorkOS, beside their codes: on or off
    #[arg(long, env = "AUTHPOST_USER_LOCALE", default_value = "on", value_name = "ON")]
    pub user_locale: String,
    /// Most events processed at once
    #[arg(long, env = "AUTHPOST_CONCURRENCY", default_value = "32", value_name = "COUNT")]
    pub concurrency: String,
    /// How long to remember that an event was mailed
    #[arg(long, env = "AUTHPOST_DEDUPE_TTL", default_value = "3 days", value_name = "DURATION")]
    pub dedupe_ttl: String,
    /// Most mails to one user within a period, or "off"; what is over it becomes a dead letter
    /// "person_limit"
    #[arg(
        long,
        env = "AUTHPOST_PERSON_LIMIT",
        default_value = "10/10 min",
        value_name = "COUNT/PERIOD"
    )]
    pub person_limit: String,
    /// Most mails to all users together within a period, or "off"; what is over it waits
    #[arg(long, env = "AUTHPOST_MAIL_LIMIT", default_value = "off", value_name = "COUNT/PERIOD")]
    pub mail_limit: String,
    /// While Redis is unavailable: "hold" the events, or after 20 s "send" on the word of this
    /// process's own cache
    #[arg(long, env = "AUTHPOST_REDIS_OUTAGE", default_value = "hold", value_name = "WHAT")]
    pub redis_outage: String,
    /// When it is unknown whether a mail was sent: "resend" it with the same Message-ID, or
    /// "dead-letter" the event
    #[arg(long, env = "AUTHPOST_ON_AMBIGUITY", default_value = "resend", value_name = "WHAT")]
    pub on_ambiguity: String,
    /// Check every 30 s for events that the webhooks missed: "on" or "off"; replicas take turns
    #[arg(long, env = "AUTHPOST_RECONCILE", default_value = "off", value_name = "WHAT")]
    pub reconcile: String,
    #[command(flatten)]
    pub mails: MailOptions,
}
