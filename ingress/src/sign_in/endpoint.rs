//! The endpoints for signing in.

/// The endpoints for signing in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Tells a frontend which login to show.
    LoginConfig,
    /// Sends a browser on to AuthKit.
    Login,
    /// Returns the URL that a browser is sent to.
    LoginUrl,
    /// Completes a sign-in that came back from AuthKit.
    Callback,
    /// Exchanges a refresh token for a new session.
    Refresh,
    Logout,
    /// Tells whose session it is.
    Session,
}

impl Endpoint {
    /// The one method it accepts.
    pub const fn method(self) -> &'static str {
        match self {
            Self::LoginConfig | Self::Login | Self::Session => "GET",
            Self::LoginUrl | Self::Callback | Self::Refresh | Self::Logout => "POST",
        }
    }
}
