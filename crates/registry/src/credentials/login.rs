//! Credentials, and where they came from.

use hod_io::secret::Secret;

/// The proof of identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user name and a password.
    Password {
        /// The user.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A long-lived token, with which a token server hands out short-lived ones.
    IdentityToken(Secret),
    /// A token that the registry takes as it is.
    RegistryToken(Secret),
}

impl Credentials {
    /// Reads `user:password`, split at the first colon.
    pub fn from_flag(text: &str) -> Self {
        let (username, password) = text.split_once(':').unwrap_or((text, ""));
        Self::Password { username: username.to_owned(), password: Secret::new(password) }
    }
}

/// Credentials and where they came from, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) credentials: Credentials,
    pub(crate) origin: Box<str>,
}
