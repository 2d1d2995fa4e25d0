//! skopeo's flags for encrypted layers, which hod refuses with a message about the alternative.

use clap::Args;

// Flags that hod does not support.
#[derive(Debug, Args)]
#[command(next_help_heading = "Encryption")]
pub(crate) struct EncryptionArgs {
    /// Not supported: hod does not encrypt layers
    #[arg(long, value_name = "KEY", env = "HOD_ENCRYPTION_KEY", hide_env = true, hide_env_values = true, hide = true)]
    encryption_key: Vec<String>,
    /// Not supported: hod does not encrypt layers
    #[arg(long, value_name = "N", env = "HOD_ENCRYPT_LAYER", hide_env = true, hide = true, allow_hyphen_values = true)]
    encrypt_layer: Vec<String>,
    /// Not supported: hod does not decrypt layers
    #[arg(long, value_name = "KEY", env = "HOD_DECRYPTION_KEY", hide_env = true, hide_env_values = true, hide = true)]
    decryption_key: Vec<String>,
}

impl EncryptionArgs {
    /// The first of these flags on the command line, with its effect in skopeo.
    pub(crate) fn given(&self) -> Option<(&'static str, &'static str)> {
        let flags = [
            (&self.encryption_key, "--encryption-key", "encrypts layers"),
            (&self.encrypt_layer, "--encrypt-layer", "encrypts layers"),
            (&self.decryption_key, "--decryption-key", "decrypts layers"),
        ];
        flags.into_iter().find(|(values, ..)| !values.is_empty()).map(|(_, flag, does)| (flag, does))
    }
}
